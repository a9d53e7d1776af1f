// SPDX-License-Identifier: MIT
#include "rpt/experiment/deploy_files.h"

#include <fmt/format.h>

#include <algorithm>
#include <atomic>
#include <cmath>
#include <fstream>
#include <type_traits>
#include <vector>

#include "rpt/core/atomic_file.h"
#include "rpt/core/error.h"
#include "rpt/core/sha256.h"
#include "rpt/model/gate.h"
#include "rpt/ternary/latent_rows.h"
#include "rpt/ternary/layouts.h"
#include "rpt/train/run_folder.h"

namespace rpt::experiment {
namespace {

namespace fs = std::filesystem;

/// Refuses to replace a folder with anything in it that is not in `made`, which takes its place.
void require_own(const fs::path& place, const fs::path& made) {
  const auto other = core::find_foreign(place, core::names_in(made));
  if (!other) return;
  throw OutputError(
      fmt::format("{}: this run did not write it, and {} is to be written again: move it away, and the same command "
                  "goes on",
                  other->string(), place.string()));
}

/// Values of one layer that are 0 or ± its scale.
std::uint64_t count_ternary(const model::TernaryWeight& weight) {
  const tensor::PackedTernaryView& codes = weight.codes();
  const auto latents = weight.latents();
  std::atomic<std::uint64_t> sum{0};
  ternary::for_row_ranges(weight.rows(), weight.columns(), [&](std::int64_t begin, std::int64_t end) {
    std::vector<std::int8_t> row(static_cast<std::size_t>(weight.columns()));
    std::uint64_t here = 0;
    const auto add = [&](auto first, auto last, const auto& holds) {
      here += static_cast<std::uint64_t>(std::count_if(first, last, holds));
    };
    for (std::int64_t n = begin; n < end; ++n) {
      if (latents) {
        const float* w = ternary::LatentRows(*latents).widened(n);
        add(w, w + weight.columns(), [&](float x) { return x == 0 || std::fabs(x) == codes.scale; });
      } else {
        ternary::unpack_row(codes, n, row);
        add(row.begin(), row.end(), [](int c) { return c >= -1 && c <= 1; });
      }
    }
    sum += here;
  });
  return sum;
}

}  // namespace

double ternary_share(const model::Model& model) {
  std::uint64_t ternary = 0;
  std::uint64_t all = 0;
  model::visit_weights(model.weights, [&](const std::string&, const auto& weight) {
    if constexpr (std::is_same_v<std::decay_t<decltype(weight)>, model::LinearWeight>) {
      ternary += count_ternary(weight.weight);
      all += static_cast<std::uint64_t>(weight.weight.rows()) * static_cast<std::uint64_t>(weight.weight.columns());
    }
  });
  return all == 0 ? 0 : static_cast<double>(ternary) / static_cast<double>(all);
}

std::optional<std::string> file_sha256(const fs::path& file) {
  std::error_code none;
  if (!fs::is_regular_file(file, none)) return std::nullopt;
  constexpr std::streamsize kPart = 1 << 20;
  std::vector<char> part(kPart);
  std::ifstream in(file, std::ios::binary);
  core::Sha256 hash;
  while (in) {
    in.read(part.data(), kPart);
    hash.update(part.data(), static_cast<std::size_t>(in.gcount()));
  }
  if (!in.eof()) return std::nullopt;
  return hash.hex_digest();
}

bool gives_the_same(const fs::path& place, const model::Model& model) {
  std::error_code none;
  if (!fs::exists(place, none)) return false;
  try {
    const auto written = model::open_model(place);
    return model::nll_sha256(model::gate_nlls(*written)) == model::nll_sha256(model::gate_nlls(model));
  } catch (const Error&) {
    return false;
  }
}

void require_weights(const fs::path& model, const StageFigures& found) {
  const auto expected = found.texts.find("weights_sha256");
  std::error_code none;
  if (expected == found.texts.end() || !fs::exists(model, none)) return;
  const fs::path weights = model / kWeightsFile;
  const auto there = file_sha256(weights);
  if (there == expected->second) return;
  throw ConfigError(fmt::format(
      "{}: expected what the fine-tune ended with (SHA-256 {:.16}…), found {}: move {} away, and the same "
      "command makes it again",
      weights.string(), expected->second, there ? fmt::format("{:.16}…", *there) : "no file", model.string()));
}

void require_own_gguf(const fs::path& file, const model::Model& model, bool known) {
  std::error_code none;
  if (!fs::exists(file, none)) return;
  try {
    model::open_model(file);
  } catch (const Error&) {
    return;  // damaged: nobody can use it
  }
  if (!known && gives_the_same(file, model)) return;
  throw OutputError(
      fmt::format("{}: is a model, but not the file that this run wrote: move it away, and the same command writes it "
                  "again",
                  file.string()));
}

void remove_unfinished(const fs::path& folder) {
  for (const char* name : {"model.gguf", "packed", "latents", "README.md", "rpt_metadata.json", "report.html",
                           "report.md", "report.json", "tables.tex", "plot-1.svg"}) {
    train::remove_leftovers(folder / name);
  }
}

std::string write_directory(const model::Model& model, const fs::path& place, model::HfForm form,
                            core::ProgressSink* progress) {
  model::ExportOptions options;
  options.replace_folder = true;
  options.progress = progress;
  options.add_files = [&](const fs::path& made) { require_own(place, made); };
  return model::export_huggingface(model, place, form, options);
}

void write_own(RunDirectory& run, const std::string& name, const std::string& note, const std::string& text,
               const std::function<void(const std::string&)>& say) {
  const fs::path file = run.folder() / name;
  train::remove_leftovers(file);
  const auto before = run.finished(note);
  const std::string hash = core::sha256_hex(text);
  std::error_code none;
  if (!fs::exists(fs::symlink_status(file, none))) {
    core::write_file_atomic(file, text);
  } else if (const auto there = file_sha256(file); there != hash) {  // equal, and not noted, where this was killed
    if (!there || !before || *there != before->text("sha256")) {
      say(fmt::format("{}: is not what this run wrote, and is left as it is", file.string()));
      return;
    }
    core::write_file_atomic(file, text);
  }
  if (before && before->text("sha256") == hash) return;
  run.forget(note);
  run.stage(note, [&] {
    StageFigures f;
    f.texts["sha256"] = hash;
    return f;
  });
}

void write_card(RunDirectory& run, const std::string& card, const std::function<void(const std::string&)>& say) {
  write_own(run, "README.md", "card", card, say);
}

}  // namespace rpt::experiment
