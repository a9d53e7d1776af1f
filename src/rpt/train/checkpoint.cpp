// SPDX-License-Identifier: MIT
#include "rpt/train/checkpoint.h"

#include <algorithm>
#include <array>
#include <charconv>
#include <cstring>
#include <nlohmann/json.hpp>
#include <vector>

#include "rpt/core/atomic_file.h"
#include "rpt/io/safetensors.h"
#include "rpt/io/safetensors_writer.h"

namespace rpt::train {
namespace {

namespace fs = std::filesystem;
using Json = nlohmann::ordered_json;

constexpr std::string_view kPrefix = "step-";
constexpr std::uint64_t kJsonLimit = 16 << 20;

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

/// What state.json says of the types; where it says nothing, they are f32.
struct StoredTypes {
  std::string masters = std::string(name(MasterType::f32));
  std::string state = std::string(name(StateType::f32));
  bool operator==(const StoredTypes&) const = default;
};

StoredTypes types_of(const Parameters& parameters, const Adamw& optimiser) {
  return {std::string(name(parameters.masters())), std::string(name(optimiser.state()))};
}

Json to_json(const RunState& s, const Parameters& parameters, const Adamw& optimiser) {
  const StoredTypes types = types_of(parameters, optimiser);
  Json j;
  j["step"] = s.step;
  j["optimiser_steps"] = optimiser.steps_taken();
  j["masters"] = types.masters;
  j["state"] = types.state;
  j["sampler"] = {{"epoch", s.sampler.epoch},
                  {"position", s.sampler.position},
                  {"random", {s.sampler.random.seed, s.sampler.random.stream, s.sampler.random.position}}};
  j["monitor"] = {{"best_step", s.monitor.best_step},
                  {"best_nll", s.monitor.best_step >= 0 ? Json(s.monitor.best_nll) : Json()},
                  {"evaluations_since", s.monitor.evaluations_since}};
  j["metrics_bytes"] = s.metrics_bytes;
  j["stream_sha256"] = s.stream_sha256;
  j["machine"] = s.machine;
  if (s.overfitted) j["overfitted"] = true;
  if (s.last_loss) j["last_loss"] = *s.last_loss;
  if (s.idle_steps > 0) j["idle_steps"] = s.idle_steps;
  if (!s.hook.empty()) j["hook"] = s.hook;
  j["config"] = s.config_json;
  return j;
}

RunState from_json(const Json& j, std::int64_t& optimiser_steps, StoredTypes& types) {
  RunState s;
  types.masters = j.value("masters", types.masters);
  types.state = j.value("state", types.state);
  s.step = j.at("step").get<std::int64_t>();
  optimiser_steps = j.at("optimiser_steps").get<std::int64_t>();
  const Json& sampler = j.at("sampler");
  s.sampler.epoch = sampler.at("epoch").get<std::uint64_t>();
  s.sampler.position = sampler.at("position").get<std::uint64_t>();
  const auto random = sampler.at("random").get<std::array<std::uint64_t, 3>>();
  s.sampler.random = {random[0], random[1], random[2]};
  const Json& monitor = j.at("monitor");
  s.monitor.best_step = monitor.at("best_step").get<std::int64_t>();
  if (!monitor.at("best_nll").is_null()) s.monitor.best_nll = monitor.at("best_nll").get<double>();
  s.monitor.evaluations_since = monitor.at("evaluations_since").get<std::int64_t>();
  s.metrics_bytes = j.at("metrics_bytes").get<std::uint64_t>();
  s.stream_sha256 = j.at("stream_sha256").get<std::string>();
  s.machine = j.at("machine").get<std::string>();
  s.overfitted = j.value("overfitted", false);
  if (j.contains("last_loss")) s.last_loss = j["last_loss"].get<double>();
  s.idle_steps = j.value("idle_steps", std::int64_t{0});
  s.hook = j.value("hook", std::string());
  s.config_json = j.at("config").get<std::string>();
  return s;
}

/// The checkpoints of a folder, oldest first.
std::vector<std::pair<std::int64_t, fs::path>> list_checkpoints(const fs::path& folder) {
  std::vector<std::pair<std::int64_t, fs::path>> list;
  std::error_code error;
  for (const fs::directory_entry& entry : fs::directory_iterator(folder, error)) {
    const std::string text = entry.path().filename().string();
    if (!entry.is_directory() || !text.starts_with(kPrefix)) continue;
    std::int64_t step = 0;
    const char* end = text.data() + text.size();
    const auto [rest, fault] = std::from_chars(text.data() + kPrefix.size(), end, step);
    if (fault == std::errc() && rest == end) list.emplace_back(step, entry.path());
  }
  std::sort(list.begin(), list.end());
  return list;
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
  fs::create_directories(folder);
  core::AtomicDirectory target(folder / fmt::format("{}{:08}", kPrefix, state.step), true);
  io::SafetensorsWriter writer(target.path() / "state.safetensors");
  const std::vector<StoredBuffer> buffers = stored_buffers(const_cast<Parameters&>(parameters), optimiser);
  for (const StoredBuffer& b : buffers) writer.declare(b.name, b.type, {b.elements});
  for (const StoredBuffer& b : buffers) {
    writer.begin_tensor(b.name);
    writer.write(b.data, b.bytes());
  }
  writer.commit();
  core::write_file_atomic(target.path() / "state.json", to_json(state, parameters, optimiser).dump(2) + "\n");
  target.commit();
  remove_leftovers(folder);
  auto list = list_checkpoints(folder);
  const auto surplus = static_cast<std::int64_t>(list.size()) - std::max<std::int64_t>(keep, 1);
  for (std::int64_t i = 0; i < surplus; ++i) fs::remove_all(list[static_cast<std::size_t>(i)].second);
}

std::optional<fs::path> newest_checkpoint(const fs::path& folder) {
  const auto list = list_checkpoints(folder);
  if (list.empty()) return std::nullopt;
  return list.back().second;
}

RunState load_checkpoint(const fs::path& checkpoint, Parameters& parameters, Adamw& optimiser) {
  const fs::path json_path = checkpoint / "state.json";
  RunState state;
  std::int64_t optimiser_steps = 0;
  StoredTypes types;
  try {
    state = from_json(Json::parse(core::read_file(json_path, kJsonLimit)), optimiser_steps, types);
  } catch (const Json::exception& e) {
    throw FormatError(json_path.string(), 0, "state of a run", "what a checkpoint holds", e.what());
  }
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
  for (const StoredBuffer& b : buffers) std::memcpy(b.data, file.find(b.name)->data.data(), b.bytes());
  optimiser.set_steps_taken(optimiser_steps);
  parameters.publish();
  return state;
}

}  // namespace rpt::train
