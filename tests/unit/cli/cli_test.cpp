// SPDX-License-Identifier: MIT
#include <algorithm>
#include <cmath>

#include "rpt/core/atomic_file.h"
#include "rpt/model/export.h"
#include "tests/unit/cli/cli_testing.h"

namespace rpt::cli {
namespace {

class Cli : public CommandTest {};

TEST_F(Cli, HelpNamesEveryCommandAndGivesAnExampleOfEach) {
  const Outcome help = rpt({"--help"});
  EXPECT_EQ(help.code, 0);
  for (const std::string command :
       {"inspect", "doctor", "tokenize", "generate", "chat", "perplexity", "compare", "export", "gauge"}) {
    EXPECT_NE(help.out.find(command), std::string::npos);
    const Outcome one = rpt({command, "--help"});
    EXPECT_EQ(one.code, 0);
    EXPECT_NE(one.out.find("Example:\n  "), std::string::npos) << command;
    EXPECT_NE(one.out.find("rpt " + command), std::string::npos) << command;
    EXPECT_NE(one.out.find("--json"), std::string::npos) << command;
  }
}

TEST_F(Cli, WrongUsageIsTwoAndOneLine) {
  for (const std::vector<std::string>& words : std::vector<std::vector<std::string>>{
           {},
           {"nonsense"},
           {"generate"},
           {"generate", seedling_, "--temperature", "-1"},
           {"generate", seedling_, "--top-p", "2"},
           {"generate", seedling_, "-n", "-3"},
           {"generate", seedling_, "--stop", ""},
           {"inspect", seedling_, "--isa", "z80"},
           {"inspect", seedling_, "--threads", "-1"},
           {"perplexity", seedling_},
           {"perplexity", seedling_, "--text", "sotu:test", "--protocol", "mine"},
           {"compare", seedling_},
           {"export", seedling_, "x.gguf", "--type", "q4"},
           {"export", seedling_, (folder_ / "x").string(), "--to", "hf", "--type", "f16"}}) {
    const Outcome o = rpt(words);
    EXPECT_EQ(o.code, 2) << (words.empty() ? "" : words.back());
    EXPECT_EQ(o.out, "");
    EXPECT_EQ(std::count(o.err.begin(), o.err.end(), '\n'), 1) << o.err;
  }
}

TEST_F(Cli, BadInputIsThreeAndNamesTheFile) {
  const auto junk = folder_ / "junk.gguf";
  core::write_file_atomic(junk, std::string("GGUF") + std::string(100, '\xff'));
  const Outcome damaged = rpt({"inspect", junk.string()});
  EXPECT_EQ(damaged.code, 3);
  EXPECT_NE(damaged.err.find(junk.string()), std::string::npos);
  EXPECT_NE(damaged.err.find("expected"), std::string::npos);
  EXPECT_NE(damaged.err.find("found"), std::string::npos);
  EXPECT_EQ(std::count(damaged.err.begin(), damaged.err.end(), '\n'), 1);
  EXPECT_EQ(rpt({"inspect", "no-such-model"}).code, 3);
  EXPECT_EQ(rpt({"perplexity", seedling_, "--text", "no-such-text"}).code, 3);
}

TEST_F(Cli, GenerateReportsWhatItPromises) {
  const Json j = json({"generate", seedling_, "-p", "The old house", "-n", "12"});
  EXPECT_EQ(j["command"], "generate");
  EXPECT_EQ(j["model"], seedling_);
  EXPECT_EQ(j["prompt_tokens"], 4);
  EXPECT_EQ(j["generated_tokens"], 12);
  EXPECT_EQ(j["token_ids"].size(), 12U);
  EXPECT_GT(j["prompt_tokens_per_second"], 0);
  EXPECT_GT(j["generation_tokens_per_second"], 0);
  EXPECT_TRUE(j["environment"].contains("processor") && j["environment"].contains("instruction_set") &&
              j["environment"].contains("threads"));
  // The text on standard output is the prompt and what JSON calls text.
  const Outcome plain = rpt({"generate", seedling_, "-p", "The old house", "-n", "12", "--quiet"});
  EXPECT_EQ(plain.out, "The old house" + j["text"].get<std::string>() + "\n");
  EXPECT_EQ(plain.err, "");
}

TEST_F(Cli, GenerateGivesTheGreedyTextOfTheGoldens) {
  const Json golden = Json::parse(core::read_file(test::source_dir() / "models/seedling/golden.json"));
  for (const Json& g : golden["greedy"]) {
    const auto ids = g["ids"].get<std::vector<std::int32_t>>();
    const Json j = json({"generate", seedling_, "-p", g["prompt"], "-n", std::to_string(ids.size())});
    const auto ours = j["token_ids"].get<std::vector<std::int32_t>>();
    ASSERT_EQ(ours.size(), ids.size());
    for (std::size_t i = 0; i < ids.size(); ++i) {
      if (g["margins"][i].get<double>() < 0.02) break;  // from here on rounding may decide
      ASSERT_EQ(ours[i], ids[i]) << g["prompt"] << " token " << i;
    }
  }
}

TEST_F(Cli, StopTextsEndAndAreNotGivenOut) {
  const Json j = json({"generate", seedling_, "-p", "The old house", "-n", "60", "--stop", " little"});
  EXPECT_EQ(j["finish_reason"], "stop");
  EXPECT_EQ(j["text"], "keeper, who had been a");
}

TEST_F(Cli, SeedsAndThreadsAndInstructionSetsReproduce) {
  const std::vector<std::string> base{"generate", seedling_,       "-p",  "He",     "-n",
                                      "20",       "--temperature", "0.9", "--seed", "3"};
  const Json first = json(base);
  for (const std::vector<std::string>& extra :
       std::vector<std::vector<std::string>>{{"--threads", "1"}, {"--threads", "3"}, {"--isa", "reference"}}) {
    auto words = base;
    words.insert(words.end(), extra.begin(), extra.end());
    EXPECT_EQ(json(words)["token_ids"], first["token_ids"]) << extra[1];
  }
  auto other = base;
  other.back() = "4";
  EXPECT_NE(json(other)["token_ids"], first["token_ids"]);
}

TEST_F(Cli, ContextFullIsSaid) {
  std::filesystem::copy(seedling_, folder_ / "short");
  std::string config = core::read_file(folder_ / "short/config.json");
  const std::string from = "\"max_position_embeddings\": 1024";
  config.replace(config.find(from), from.size(), "\"max_position_embeddings\": 12");
  core::write_file_atomic(folder_ / "short/config.json", config);
  const Outcome o =
      rpt({"generate", (folder_ / "short").string(), "-p", "The", "-n", "50", "--json", (folder_ / "g.json").string()});
  ASSERT_EQ(o.code, 0) << o.err;
  const Json j = Json::parse(core::read_file(folder_ / "g.json"));
  EXPECT_EQ(j["finish_reason"], "context_full");
  EXPECT_EQ(j["prompt_tokens"].get<int>() + j["generated_tokens"].get<int>(), 13);
  EXPECT_NE(o.err.find("context of 12 tokens is full"), std::string::npos);
}

TEST_F(Cli, TokenizeAndBack) {
  const std::string text = "The old house\n\tna\xc3\xafve \xff end";
  const Json j = json({"tokenize", seedling_}, text);
  EXPECT_EQ(j["token_ids"].size(), j["pieces"].size());
  EXPECT_NE(j["token_ids"][0], 0);  // no BOS
  std::string ids;
  for (const auto& id : j["token_ids"]) ids += std::to_string(id.get<int>()) + " ";
  EXPECT_EQ(rpt({"tokenize", seedling_, "--decode"}, ids).out, text);
  // Special tokens only on request.
  EXPECT_GT(json({"tokenize", seedling_}, "<|end_of_text|>")["token_ids"].size(), 1U);
  EXPECT_EQ(json({"tokenize", seedling_, "--special"}, "<|end_of_text|>")["token_ids"], Json::array({1}));
  EXPECT_EQ(rpt({"tokenize", seedling_, "--decode"}, "12 x").code, 3);
  EXPECT_EQ(rpt({"tokenize", seedling_, "--decode"}, "4096").code, 3);
}

TEST_F(Cli, InspectListsEveryTensor) {
  const Json j = json({"inspect", seedling_});
  EXPECT_EQ(j["architecture"], "bitnet-b1.58");
  EXPECT_EQ(j["ternary_weights"], 4 * (2 * 256 * 256 + 2 * 128 * 256 + 3 * 768 * 256));
  EXPECT_EQ(j["tensors"].size(), 1U + 4 * 11 + 1);
  double zeros = 0;
  for (const Json& t : j["tensors"]) {
    if (!t.contains("scale")) continue;
    EXPECT_NEAR(
        t["code_minus_share"].get<double>() + t["code_zero_share"].get<double>() + t["code_plus_share"].get<double>(),
        1, 1e-12);
    zeros += t["code_zero_share"].get<double>() * t["shape"][0].get<double>() * t["shape"][1].get<double>();
  }
  EXPECT_NEAR(j["code_zero_share"].get<double>(), zeros / j["ternary_weights"].get<double>(), 1e-12);
}

TEST_F(Cli, ExportsCompareIdenticalAndBrokenOnesDoNot) {
  const auto text = folder_ / "text.txt";
  core::write_file_atomic(
      text, "The old house stood by the sea. Nobody had lived there for years, and the boys were afraid of it.\n");
  for (const std::string form : {"i2_s", "tq1_0", "tq2_0", "f16", "bf16", "f32", "hf", "hf-packed"}) {
    const bool directory = form.starts_with("hf");
    const std::string out = (folder_ / (directory ? form : form + ".gguf")).string();
    const auto words = directory ? std::vector<std::string>{"export", seedling_, out, "--to", form}
                                 : std::vector<std::string>{"export", seedling_, out, "--type", form};
    EXPECT_EQ(json(words)["bit_identical"], true) << form;
    const Json c = json({"compare", seedling_, out, "--text", text.string(), "--expect", "identical"});
    EXPECT_EQ(c["bit_identical"], true) << form;
    EXPECT_EQ(c["kl_divergence"], 0.0);
    EXPECT_EQ(c["same_top_share"], 1.0);
    EXPECT_EQ(c["nll_sha256_a"], c["nll_sha256_b"]);
    EXPECT_EQ(json({"generate", out, "-p", "The old house", "-n", "8"})["text"],
              json({"generate", seedling_, "-p", "The old house", "-n", "8"})["text"]);
  }
  // One bit of the last tensor's scale.
  std::string bytes = core::read_file(folder_ / "i2_s.gguf");
  const Json tensors = json({"inspect", (folder_ / "i2_s.gguf").string()});
  const double scale = tensors["tensors"][tensors["tensors"].size() - 2]["scale"];
  const auto value = static_cast<float>(scale);
  std::string pattern(4, '\0');
  std::memcpy(pattern.data(), &value, 4);
  const auto at = bytes.rfind(pattern);
  ASSERT_NE(at, std::string::npos);
  bytes[at] = static_cast<char>(bytes[at] ^ 1);
  core::write_file_atomic(folder_ / "broken.gguf", bytes);
  const Outcome o =
      rpt({"compare", seedling_, (folder_ / "broken.gguf").string(), "--text", text.string(), "--expect", "identical"});
  EXPECT_EQ(o.code, 1) << o.err;
  EXPECT_NE(o.out.find("not identical"), std::string::npos);
}

TEST_F(Cli, FiguresReplaceNothingButFigures) {
  const auto file = folder_ / "figures.json";
  const std::vector<std::string> words{"inspect", seedling_, "--json", file.string()};
  EXPECT_EQ(rpt(words).code, 0);
  const std::string figures = core::read_file(file);
  EXPECT_EQ(rpt(words).code, 0);
  EXPECT_EQ(core::read_file(file), figures);
  core::write_file_atomic(file, "");  // made by mktemp
  EXPECT_EQ(rpt(words).code, 0);
  EXPECT_EQ(core::read_file(file), figures);
  for (const char* own : {"{", "a text\n", "{\n  \"model\": {\"hidden\": 256}\n}\n"}) {
    core::write_file_atomic(file, own);
    const Outcome o = rpt(words);
    EXPECT_EQ(o.code, 2);
    EXPECT_EQ(o.err, "rpt: --json " + file.string() +
                         ": the file is there and holds no figures of rpt; write to another name\n");
    EXPECT_EQ(core::read_file(file), own);
  }
}

TEST_F(Cli, UsageMessagesNameWhatIsWrong) {
  EXPECT_NE(rpt({"bogus"}).err.find("unknown command \"bogus\""), std::string::npos);
  for (const std::string seed : {"-1", "18446744073709551616", "1x", ""}) {
    EXPECT_EQ(rpt({"generate", seedling_, "-p", "a", "-n", "1", "--seed", seed}).code, 2) << seed;
  }
  EXPECT_EQ(rpt({"generate", seedling_, "-p", "a", "-n", "99999999999999999999"}).code, 2);
  EXPECT_EQ(rpt({"generate", seedling_, "-p", "a", "--temperature", "nan"}).code, 2);
  EXPECT_EQ(rpt({"generate", seedling_, "--no-bos"}).code, 2);
  EXPECT_EQ(rpt({"perplexity", seedling_, "--text", "sotu:test", "--context", "1025"}).code, 2);
  EXPECT_EQ(rpt({"perplexity", seedling_, "--text", "sotu:test", "--stride", "5000"}).code, 2);
  EXPECT_EQ(rpt({"inspect", seedling_, "--json", "/no/such/folder/x.json"}).code, 4);
  EXPECT_EQ(rpt({"export", seedling_, ""}).code, 2);
  EXPECT_EQ(rpt({"export", seedling_, (folder_ / "no" / "x.gguf").string()}).code, 4);
  EXPECT_EQ(rpt({"export", seedling_, seedling_, "--to", "hf-packed", "--force"}).code, 2);  // the model itself
  EXPECT_TRUE(std::filesystem::exists(seedling_ + "/model.safetensors"));
  // --stop takes one text each time and leaves the rest alone.
  EXPECT_EQ(rpt({"generate", "--stop", "zzz", seedling_, "-p", "a", "-n", "1"}).code, 0);
}

TEST_F(Cli, TokenizeTakesEmbeddedTexts) {
  const Json j = json({"tokenize", seedling_, "sotu:test"});
  EXPECT_GT(j["token_ids"].size(), 10000U);
  EXPECT_EQ(j["pieces"].size(), j["token_ids"].size());
}

TEST_F(Cli, SpeedsAreNullWhereNothingWasTimed) {
  const Json none = json({"generate", seedling_, "-p", "The", "-n", "0"});
  EXPECT_TRUE(none["prompt_tokens_per_second"].is_null());
  EXPECT_TRUE(none["generation_tokens_per_second"].is_null());
  EXPECT_TRUE(none["read_bandwidth_gb_per_second"].is_null());
  const Json some = json({"generate", seedling_, "-p", "The", "-n", "4"});
  EXPECT_GT(some["read_bandwidth_gb_per_second"], 0);
}

/// GGUF knows three names for ids that end a text; a fourth would be lost, so it is refused.
TEST_F(Cli, EndIdsThatAFormCannotSayAreRefused) {
  const auto with_ids = [&](const std::string& name, const std::string& ids) {
    std::filesystem::copy(seedling_, folder_ / name);
    std::string config = core::read_file(folder_ / (name + "/config.json"));
    const std::string from = "\"eos_token_id\": 1";
    config.replace(config.find(from), from.size(), "\"eos_token_id\": " + ids);
    core::write_file_atomic(folder_ / (name + "/config.json"), config);
    return (folder_ / name).string();
  };
  const std::string three = with_ids("three", "[1, 5, 7]"), four = with_ids("four", "[1, 5, 7, 9]");
  ASSERT_EQ(rpt({"export", three, (folder_ / "three.gguf").string()}).code, 0);
  EXPECT_EQ(json({"inspect", (folder_ / "three.gguf").string()})["end_ids"], Json::array({1, 5, 7}));
  const Outcome o = rpt({"export", four, (folder_ / "four.gguf").string()});
  EXPECT_EQ(o.code, 3);
  EXPECT_NE(o.err.find("end-of-text id 9"), std::string::npos) << o.err;
  EXPECT_FALSE(std::filesystem::exists(folder_ / "four.gguf"));
  EXPECT_EQ(rpt({"export", four, (folder_ / "packed").string(), "--to", "hf-packed"}).code, 0);
}

TEST_F(Cli, SnappedDirectoriesThatDeclareOnlineAreWarnedAbout) {
  // An f32 GGUF holds 0 and ±s; as a directory of latents it would be quantised again.
  auto model = test::TinyModel::make({.type = tensor::DType::f32});
  for (auto& block : model->weights.blocks) {
    auto& linear = block.attn_q;
    const auto latents = linear.weight.stored_latents();
    auto* values = reinterpret_cast<float*>(const_cast<std::byte*>(latents.data));
    for (std::int64_t i = 0; i < latents.rows * latents.columns; ++i) {
      values[i] = values[i] > 0.03F ? 0.5F : values[i] < -0.03F ? -0.5F : 0.0F;
    }
  }
  model::export_huggingface(*model, folder_ / "snapped", model::HfForm::latents, {});
  const Outcome o = rpt({"inspect", (folder_ / "snapped").string()});
  EXPECT_EQ(o.code, 0);
  EXPECT_NE(o.err.find("shrinks the scale"), std::string::npos) << o.err;
  EXPECT_EQ(rpt({"inspect", seedling_}).err.find("shrinks"), std::string::npos);
}

TEST_F(Cli, PerplexityReportsWhatItPromises) {
  const auto text = folder_ / "text.jsonl";
  std::string lines;
  for (int i = 0; i < 9; ++i)
    lines += "{\"text\":\"It was a dark and stormy night, and the rain fell for " + std::to_string(i) + " hours.\"}\n";
  core::write_file_atomic(text, lines);
  const Json j = json({"perplexity", seedling_, "--text", text.string()});
  EXPECT_EQ(j["protocol"], "full");
  EXPECT_EQ(j["documents"], 9);
  EXPECT_NEAR(j["perplexity"].get<double>(), std::exp(j["mean_nll"].get<double>()),
              1e-9 * j["perplexity"].get<double>());
  EXPECT_LT(j["interval_low"], j["perplexity"]);
  EXPECT_GT(j["interval_high"], j["perplexity"]);
  EXPECT_GT(j["bits_per_byte"], 0);
  EXPECT_GT(j["word_perplexity"], j["perplexity"]);
  EXPECT_EQ(j["nll_sha256"].get<std::string>().size(), 64U);
  const Json one = json({"perplexity", seedling_, "--text", text.string(), "--threads", "1", "--isa", "reference"});
  EXPECT_EQ(one["nll_sha256"], j["nll_sha256"]);
  EXPECT_EQ(one["environment"]["instruction_set"], "reference");

  EXPECT_EQ(rpt({"perplexity", seedling_, "--text", text.string(), "--save-nll", (folder_ / "nll.tsv").string()}).code,
            0);
  const std::string table = core::read_file(folder_ / "nll.tsv");
  EXPECT_EQ(std::count(table.begin(), table.end(), '\n'), 1 + j["scored_tokens"].get<std::int64_t>());
}

}  // namespace
}  // namespace rpt::cli
