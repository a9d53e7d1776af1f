// SPDX-License-Identifier: MIT
#include "rpt/train/checkpoint.h"

#include <algorithm>
#include <array>
#include <charconv>
#include <cstring>
#include <limits>
#include <nlohmann/json.hpp>
#include <utility>
#include <vector>

#include "rpt/core/atomic_file.h"
#include "rpt/core/parallel.h"
#include "rpt/core/sha256.h"
#include "rpt/io/safetensors.h"
#include "rpt/io/safetensors_writer.h"

namespace rpt::train {
namespace {

namespace fs = std::filesystem;
using Json = nlohmann::ordered_json;

constexpr std::string_view kPrefix = "step-";

/// The folder of the checkpoint after a step.
std::string name_of(std::int64_t step) {
  return fmt::format("{}{:08}", kPrefix, step);
}

constexpr std::uint64_t kJsonLimit = 16 << 20;
/// Of state.json. 1 did not name the base, 2 knew no look that is still to come, and neither the best model nor
/// arithmetic.
constexpr int kVersion = 3;
constexpr std::int64_t kMostSteps = std::int64_t{1} << 40;

StoredBuffer stored_masters(Parameter& p) {
  if (!p.has_master()) {
    return {"master." + p.name, tensor::DType::bf16, reinterpret_cast<std::byte*>(p.rounded.data()), p.size()};
  }
  return {"master." + p.name, tensor::DType::f32, reinterpret_cast<std::byte*>(p.master.data()), p.size()};
}

/// The buffers of every parameter, and what the hook has to store, in the order of the file: wide types first, where
/// the format wants them.
std::vector<StoredBuffer> stored_buffers(Parameters& parameters, Adamw& optimiser) {
  std::vector<Parameter>& all = parameters.all();
  std::vector<StoredBuffer> list;
  for (std::size_t i = 0; i < all.size(); ++i) {
    list.push_back(stored_masters(all[i]));
    for (const StoredBuffer& b : optimiser.first()[i].stored("adam_m." + all[i].name)) list.push_back(b);
    for (const StoredBuffer& b : optimiser.second()[i].stored("adam_v." + all[i].name)) list.push_back(b);
  }
  if (parameters.hook() != nullptr) {
    for (const Parameter& p : all) {
      const std::span<std::uint8_t> state = parameters.hook()->state(p.trained_weight());
      if (state.empty()) continue;
      list.push_back(
          {"hook." + p.name, tensor::DType::u8, reinterpret_cast<std::byte*>(state.data()), std::ssize(state)});
    }
  }
  std::stable_sort(list.begin(), list.end(), [](const StoredBuffer& a, const StoredBuffer& b) {
    return tensor::element_size(a.type) > tensor::element_size(b.type);
  });
  return list;
}

/// SHA-256 over the names and bytes of buffers, whose bytes `bytes_of` gives.
template <typename BytesOf>
std::string sha256_of_buffers(const std::vector<StoredBuffer>& buffers, const BytesOf& bytes_of) {
  std::vector<std::string> digests(buffers.size());
  core::parallel_for(std::ssize(buffers), 1, [&](std::int64_t begin, std::int64_t end) {
    for (auto i = static_cast<std::size_t>(begin); std::cmp_less(i, end); ++i) {
      digests[i] = core::sha256_hex(bytes_of(buffers[i]));
    }
  });
  std::string text;
  for (std::size_t i = 0; i < buffers.size(); ++i) text += fmt::format("{} {}\n", buffers[i].name, digests[i]);
  return core::sha256_hex(text);
}

/// What state.json says of the types.
struct StoredTypes {
  std::string masters;
  std::string state;
  bool operator==(const StoredTypes&) const = default;
};

StoredTypes types_of(const Parameters& parameters, const Adamw& optimiser) {
  return {std::string(name(parameters.masters())), std::string(name(optimiser.state()))};
}

Json to_json(const RunState& s, const Parameters& parameters, const Adamw& optimiser, const std::string& values) {
  const StoredTypes types = types_of(parameters, optimiser);
  Json j;
  j["version"] = kVersion;
  j["step"] = s.step;
  j["optimiser_steps"] = optimiser.steps_taken();
  j["masters"] = types.masters;
  j["state"] = types.state;
  j["values_sha256"] = values;
  j["sampler"] = {{"epoch", s.sampler.epoch},
                  {"position", s.sampler.position},
                  {"random", {s.sampler.random.seed, s.sampler.random.stream, s.sampler.random.position}}};
  j["monitor"] = {{"best_step", s.monitor.best_step},
                  {"best_nll", s.monitor.best_step >= 0 ? Json(s.monitor.best_nll) : Json()},
                  {"evaluations_since", s.monitor.evaluations_since}};
  if (!s.best_sha256.empty()) j["best_sha256"] = s.best_sha256;
  j["metrics_bytes"] = s.metrics_bytes;
  j["stream_sha256"] = s.stream_sha256;
  j["machine"] = s.machine;
  j["arithmetic"] = s.arithmetic;
  if (s.overfitted) j["overfitted"] = true;
  if (s.look_is_due) j["look_is_due"] = true;
  if (s.last_loss) j["last_loss"] = *s.last_loss;
  if (s.idle_steps > 0) j["idle_steps"] = s.idle_steps;
  if (!s.hook.empty()) j["hook"] = s.hook;
  j["base_sha256"] = s.base_sha256;
  j["config"] = s.config_json;
  return j;
}

/// Reads members of state.json and says which one cannot be.
class StateReader {
 public:
  StateReader(const Json& json, std::string file) : json_(json), file_(std::move(file)) {}

  /// A whole number from `low` to `high`; `absent` where there is none.
  std::int64_t integer(const char* key, std::int64_t low, std::int64_t high,
                       std::optional<std::int64_t> absent = std::nullopt) const {
    if (absent && !json_.contains(key)) return *absent;
    const Json& found = json_.at(key);
    const bool whole =
        found.is_number_integer() && (!found.is_number_unsigned() || found.get<std::uint64_t>() <= kMost);
    const std::int64_t value = whole ? found.get<std::int64_t>() : -2;
    if (!whole || value < low || value > high) {
      throw FormatError(file_, 0, key, fmt::format("a whole number from {} to {}", low, high),
                        found.is_structured() ? found.type_name() : found.dump());
    }
    return value;
  }
  StateReader inner(const char* key) const { return {json_.at(key), file_}; }
  const Json& json() const { return json_; }

 private:
  static constexpr std::uint64_t kMost = std::numeric_limits<std::int64_t>::max();
  const Json& json_;
  std::string file_;
};

struct StoredState {
  RunState run;
  std::int64_t optimiser_steps = 0;
  StoredTypes types;
  std::string values_sha256;  ///< over state.safetensors; empty in older checkpoints
};

StoredState from_json(const Json& j, const std::string& file) {
  const int version = j.value("version", 1);
  if (version != kVersion) {
    throw ConfigError(
        fmt::format("{}: expected a checkpoint of version {}, found version {}: only the rpt that began "
                    "the run can go on with it",
                    file, kVersion, version));
  }
  const StateReader reader(j, file);
  StoredState stored;
  j.at("masters").get_to(stored.types.masters);
  j.at("state").get_to(stored.types.state);
  stored.values_sha256 = j.value("values_sha256", std::string());
  RunState& s = stored.run;
  s.step = reader.integer("step", 0, kMostSteps);
  s.idle_steps = reader.integer("idle_steps", 0, s.step, 0);
  stored.optimiser_steps = reader.integer("optimiser_steps", s.step - s.idle_steps, s.step - s.idle_steps);
  const Json& sampler = j.at("sampler");
  s.sampler.epoch = sampler.at("epoch").get<std::uint64_t>();
  s.sampler.position = sampler.at("position").get<std::uint64_t>();
  const auto random = sampler.at("random").get<std::array<std::uint64_t, 3>>();
  s.sampler.random = {random[0], random[1], random[2]};
  const StateReader monitor = reader.inner("monitor");
  s.monitor.best_step = monitor.integer("best_step", -1, s.step);
  if (s.monitor.best_step >= 0) s.monitor.best_nll = monitor.json().at("best_nll").get<double>();
  s.monitor.evaluations_since = monitor.integer("evaluations_since", 0, s.step);
  s.best_sha256 = j.value("best_sha256", std::string());
  s.metrics_bytes = j.at("metrics_bytes").get<std::uint64_t>();
  s.stream_sha256 = j.at("stream_sha256").get<std::string>();
  s.machine = j.at("machine").get<std::string>();
  s.arithmetic = reader.integer("arithmetic", 0, std::numeric_limits<std::int64_t>::max());
  s.overfitted = j.value("overfitted", false);
  s.look_is_due = j.value("look_is_due", false);
  if (j.contains("last_loss")) s.last_loss = j["last_loss"].get<double>();
  s.hook = j.value("hook", std::string());
  s.base_sha256 = j.at("base_sha256").get<std::string>();
  s.config_json = j.at("config").get<std::string>();
  return stored;
}

StoredState read_state(const fs::path& checkpoint) {
  const std::string file = (checkpoint / "state.json").string();
  try {
    StoredState stored = from_json(Json::parse(core::read_file(file, kJsonLimit)), file);
    if (checkpoint.filename() != name_of(stored.run.step)) {
      throw FormatError(file, 0, "step", "that of " + checkpoint.filename().string(), fmt::to_string(stored.run.step));
    }
    return stored;
  } catch (const Json::exception& e) {
    throw FormatError(file, 0, "state of a run", "what a checkpoint holds", e.what());
  }
}

/// The checkpoints of a folder, oldest first.
std::vector<std::pair<std::int64_t, fs::path>> list_checkpoints(const fs::path& folder) {
  std::vector<std::pair<std::int64_t, fs::path>> list;
  std::error_code error;
  std::error_code none;
  for (fs::directory_iterator it(folder, error), last; !error && it != last; it.increment(error)) {
    const fs::directory_entry& entry = *it;
    const std::string text = entry.path().filename().string();
    if (!entry.is_directory(none) || !text.starts_with(kPrefix)) continue;
    std::int64_t step = 0;
    const char* end = text.data() + text.size();
    const auto [rest, fault] = std::from_chars(text.data() + kPrefix.size(), end, step);
    if (fault == std::errc() && rest == end) list.emplace_back(step, entry.path());
  }
  std::sort(list.begin(), list.end());
  return list;
}

/// Runs `work` on the folder of checkpoints. Throws: OutputError where the system refuses.
template <typename Work>
void on_disk(const fs::path& folder, Work&& work) {
  try {
    work();
  } catch (const fs::filesystem_error& e) {
    throw OutputError(fmt::format("{}: {}", (e.path1().empty() ? folder : e.path1()).string(), e.code().message()));
  }
}

/// Removes what a run that was killed while it saved has left behind.
void remove_leftovers(const fs::path& folder) {
  std::vector<fs::path> leftovers;
  for (const fs::directory_entry& entry : fs::directory_iterator(folder)) {
    const std::string text = entry.path().filename().string();
    if (text.starts_with(kPrefix) && text.find(".tmp.") != std::string::npos) leftovers.push_back(entry.path());
  }
  for (const fs::path& path : leftovers) fs::remove_all(path);
}

}  // namespace

void save_checkpoint(const fs::path& folder, const Parameters& parameters, Adamw& optimiser, const RunState& state,
                     std::int64_t keep) {
  on_disk(folder, [&] { fs::create_directories(folder); });
  core::AtomicDirectory target(folder / name_of(state.step), true);
  io::SafetensorsWriter writer(target.path() / "state.safetensors");
  const std::vector<StoredBuffer> buffers = stored_buffers(const_cast<Parameters&>(parameters), optimiser);
  for (const StoredBuffer& b : buffers) writer.declare(b.name, b.type, {b.elements});
  for (const StoredBuffer& b : buffers) {
    writer.begin_tensor(b.name);
    writer.write(b.data, b.bytes());
  }
  writer.commit();
  const std::string values =
      sha256_of_buffers(buffers, [](const StoredBuffer& b) { return std::span<const std::byte>(b.data, b.bytes()); });
  core::write_file_atomic(target.path() / "state.json", to_json(state, parameters, optimiser, values).dump(2) + "\n");
  target.commit();
  on_disk(folder, [&] {
    remove_leftovers(folder);
    const auto list = list_checkpoints(folder);
    const auto surplus = static_cast<std::int64_t>(list.size()) - std::max<std::int64_t>(keep, 1);
    for (std::int64_t i = 0; i < surplus; ++i) fs::remove_all(list[static_cast<std::size_t>(i)].second);
  });
}

std::optional<fs::path> newest_checkpoint(const fs::path& folder) {
  const auto list = list_checkpoints(folder);
  if (list.empty()) return std::nullopt;
  return list.back().second;
}

std::string sha256_of(const Parameters& parameters) {
  const std::vector<Parameter>& all = parameters.all();
  std::vector<std::string> digests(all.size());
  core::parallel_for(std::ssize(all), 1, [&](std::int64_t begin, std::int64_t end) {
    for (auto i = static_cast<std::size_t>(begin); std::cmp_less(i, end); ++i) {
      const Parameter& p = all[i];
      digests[i] = core::sha256_hex(p.has_master() ? std::as_bytes(p.master.span()) : std::as_bytes(p.rounded.span()));
    }
  });
  const model::Config& c = parameters.model().config;
  std::string text = fmt::format("{} {} {} {} {} {} {}\n", c.heads, c.kv_heads, c.head_size, c.context, c.norm_epsilon,
                                 c.rope_theta, c.activation == model::Activation::relu2 ? "relu2" : "silu");
  for (std::size_t i = 0; i < all.size(); ++i) {
    text += fmt::format("{} {} {} {}\n", all[i].name, all[i].rows, all[i].columns, digests[i]);
  }
  return core::sha256_hex(text);
}

RunState read_run_state(const fs::path& checkpoint) {
  return read_state(checkpoint).run;
}

RunState load_checkpoint(const fs::path& checkpoint, Parameters& parameters, Adamw& optimiser) {
  const StoredState stored = read_state(checkpoint);
  const StoredTypes& types = stored.types;
  if (const StoredTypes own = types_of(parameters, optimiser); types != own) {
    throw ConfigError(fmt::format("{}: holds masters {} and state {}, this run has masters {} and state {}",
                                  checkpoint.string(), types.masters, types.state, own.masters, own.state));
  }
  const auto file = io::SafetensorsFile::open(checkpoint / "state.safetensors");
  const std::vector<StoredBuffer> buffers = stored_buffers(parameters, optimiser);
  for (const StoredBuffer& b : buffers) {
    const io::SafetensorsTensor* t = file.find(b.name);
    if (t == nullptr || t->type != b.type || t->elements() != b.elements) {
      throw ConfigError(fmt::format("{}: no {} of {} {} values, as the model of this run has", file.name(), b.name,
                                    b.elements, tensor::name(b.type)));
    }
  }
  if (!stored.values_sha256.empty()) {
    const std::string found = sha256_of_buffers(buffers, [&](const StoredBuffer& b) {
      return std::span<const std::byte>(file.find(b.name)->data.data(), b.bytes());
    });
    if (found != stored.values_sha256) {
      throw FormatError(file.name(), 0, "values", "the SHA-256 that state.json has, " + stored.values_sha256, found);
    }
  }
  for (const StoredBuffer& b : buffers) std::memcpy(b.data, file.find(b.name)->data.data(), b.bytes());
  optimiser.set_steps_taken(stored.optimiser_steps);
  parameters.publish();
  return stored.run;
}

}  // namespace rpt::train
