// SPDX-License-Identifier: MIT
#include <fmt/format.h>

#include <algorithm>

#include "rpt/core/atomic_file.h"
#include "rpt/core/sha256.h"
#include "rpt/model/masks.h"
#include "rpt/model/model.h"
#include "tests/unit/cli/deploy_testing.h"

namespace rpt::cli {
namespace {

TEST_F(Deploy, EndsWithAFileThatSaysWhatTheTrainedModelSaid) {
  const std::string model = small_model();
  const Json r = json(words(model, "run"));
  std::vector<std::string> states;
  for (const Json& s : r["states"]) states.push_back(s["state"]);
  EXPECT_EQ(states, (std::vector<std::string>{"baseline", "5 % pruned", "5 % fine-tuned", "10 % pruned",
                                              "10 % fine-tuned", "GGUF"}));
  EXPECT_EQ(r["states"][4]["nll_sha256"], r["nll_sha256"]);
  EXPECT_EQ(r["states"][5]["nll_sha256"], r["nll_sha256"]);
  EXPECT_NE(r["states"][0]["nll_sha256"], r["nll_sha256"]);
  EXPECT_NEAR(r["states"][1]["codes_removed_share"].get<double>(), 0.05, 0.01);
  EXPECT_NEAR(r["states"][3]["codes_removed_share"].get<double>(), 0.10, 0.01);
  EXPECT_EQ(r["texts"].size(), 3U);

  // The figures are what the other commands say of the files.
  const Json base = json({"perplexity", model, "--text", path("test.jsonl")});
  EXPECT_EQ(base["mean_nll"], r["baseline_nll"]);
  for (const char* form : {"run/model.gguf", "run/packed", "run/latents"}) {
    const Json scored = json({"perplexity", path(form), "--text", path("test.jsonl")});
    EXPECT_EQ(scored["nll_sha256"], r["nll_sha256"]) << form;
  }
  EXPECT_NEAR(r["states"][4]["codes_zero_share"].get<double>(),
              json({"inspect", path("run/model.gguf")})["code_zero_share"].get<double>(), 1e-12);
  for (const char* left : {"report.html", "report.md", "report.json", "tables.tex", "README.md"}) {
    EXPECT_FALSE(file(std::string("run/") + left).empty()) << left;
  }
  const Json metadata = Json::parse(file("run/rpt_metadata.json"));
  for (const char* member : {"base_model", "method", "target_sparsity", "actual_sparsity", "pct_ternary", "progressive",
                             "ft_steps_per_level", "ft_lr", "batch_size", "seq_len", "baseline_ppl", "final_ppl",
                             "improvement", "gpu", "processor", "seed", "scale_rule", "recipe", "nll_sha256"}) {
    EXPECT_TRUE(metadata.contains(member)) << member;
  }
  EXPECT_EQ(metadata["pct_ternary"], 100.0);
  EXPECT_EQ(metadata["baseline_ppl"], r["baseline_perplexity"]);
  EXPECT_EQ(metadata["final_ppl"], r["perplexity"]);
  EXPECT_EQ(metadata["final_ppl_gguf"], r["perplexity"]);
  EXPECT_EQ(metadata["gguf_sha256"], core::sha256_hex(file("run/model.gguf")));
  const std::string last_masks = path("run/stages/level-10-prune/masks.safetensors");
  EXPECT_EQ(metadata["masks_sha256"],
            model::sha256_of(model::read_masks(last_masks, model::open_model(model)->config)));
  EXPECT_EQ(r["states"][3]["masks_sha256"], metadata["masks_sha256"]);
  EXPECT_NE(r["states"][1]["masks_sha256"], metadata["masks_sha256"]);

  // Once more: nothing is done again. Another configuration is refused.
  const std::string gguf = file("run/model.gguf");
  EXPECT_EQ(json(words(model, "run"))["states"], r["states"]);
  EXPECT_EQ(file("run/model.gguf"), gguf);
  auto other = words(model, "run");
  other.insert(other.end(), {"--sparsity", "0.2"});
  const Outcome refused = rpt(other);
  EXPECT_EQ(refused.code, 3);
  EXPECT_NE(refused.err.find("\"sparsity\" differs"), std::string::npos) << refused.err;
}

TEST_F(Deploy, WithoutPruningItIsTheFineTune) {
  const std::string model = small_model();
  auto all = words(model, "run");
  all.insert(all.end(), {"--sparsity", "0"});
  const Json r = json(all);
  ASSERT_EQ(r["states"].size(), 3U);
  EXPECT_EQ(r["states"][1]["state"], "0 % fine-tuned");
  EXPECT_TRUE(Json::parse(file("run/rpt_metadata.json"))["masks_sha256"].is_null());
  EXPECT_EQ(file("run/report.md").find("That control is not part of this run"), std::string::npos) << "it is all of it";
}

// The reference's pipeline: one set of latents under three scales, each what the other commands make of it.
TEST_F(Deploy, LegacyEndsWithOneModelUnderThreeScales) {
  const std::string model = small_model();
  core::write_file_atomic(path("long.jsonl"), lines(30));
  auto all = words(model, "run");
  std::replace(all.begin(), all.end(), path("test.jsonl"), path("long.jsonl"));
  all.insert(all.end(), {"--protocol", "legacy", "--sparsity", "0.1"});
  const Json r = json(all);
  std::vector<std::string> states;
  for (const Json& s : r["states"]) states.push_back(s["state"]);
  EXPECT_EQ(states,
            (std::vector<std::string>{"baseline", "5 % pruned", "5 % fine-tuned", "10 % pruned", "10 % fine-tuned",
                                      "snapped, quantised online again", "GGUF, scale max|w|"}));
  const auto score = [&](const std::string& what, const char* protocol) {
    const std::string& place = what == model ? model : path(what);
    return json({"perplexity", place, "--text", path("long.jsonl"), "--protocol", protocol});
  };
  const Json latents = score("run/latents", "full");
  EXPECT_EQ(latents["nll_sha256"], r["states"][4]["nll_sha256"]);
  EXPECT_EQ(score("run/packed", "full")["nll_sha256"], r["states"][5]["nll_sha256"]);
  EXPECT_EQ(score("run/model.gguf", "full")["nll_sha256"], r["states"][6]["nll_sha256"]);
  EXPECT_EQ(score("run/latents", "legacy")["mean_nll"], r["states"][4]["legacy_nll"]);
  for (const auto& [rule, state] : {std::pair{"legacy-double", 5}, {"frozen", 6}}) {
    ASSERT_EQ(rpt({"snap", path("run/latents"), path(rule), "--scale", rule, "--base", model}).code, 0);
    EXPECT_EQ(score(rule, "full")["nll_sha256"], r["states"][static_cast<std::size_t>(state)]["nll_sha256"]) << rule;
  }
  EXPECT_NE(r["states"][5]["nll_sha256"], r["states"][6]["nll_sha256"]);
  EXPECT_NE(r["states"][4]["nll_sha256"], r["states"][5]["nll_sha256"]) << "latents, not what they were read as";
  const Json metadata = Json::parse(file("run/rpt_metadata.json"));
  EXPECT_EQ(metadata["protocol"], "legacy");
  EXPECT_EQ(metadata["ft_lr"], 5e-4);
  EXPECT_EQ(metadata["actual_sparsity"], r["states"][5]["codes_zero_share"]) << "of the codes that are shipped";
  EXPECT_EQ(metadata["codes_removed"], r["states"][5]["codes_removed_share"]);
  // Perplexities as the reference means them: its protocol, before and behind its snap.
  const double before = score(model, "legacy")["perplexity"].get<double>();
  const double after = score("run/packed", "legacy")["perplexity"].get<double>();
  EXPECT_EQ(metadata["baseline_ppl"], before);
  EXPECT_EQ(metadata["final_ppl"], after);
  EXPECT_EQ(metadata["improvement"], fmt::format("{:+.1f}%", 100 * (after / before - 1)));
  EXPECT_EQ(metadata["final_ppl_gguf"], score("run/model.gguf", "legacy")["perplexity"]);
  EXPECT_NE(metadata["final_ppl_gguf"], metadata["final_ppl"]);
  EXPECT_NE(file("run/report.md").find("no gain of snapping"), std::string::npos);
  EXPECT_NE(file("run/README.md").find("no gain of snapping"), std::string::npos);

  all.insert(all.end(), {"--score", "random"});
  EXPECT_EQ(rpt(all).code, 2);
}

TEST_F(Deploy, ReportSaysHowToRunItAgain) {
  const std::string model = small_model();
  core::write_file_atomic(path("long.jsonl"), lines(30));
  for (const char* protocol : {"sound", "legacy"}) {
    auto all = words(model, protocol);
    std::replace(all.begin(), all.end(), path("test.jsonl"), path("long.jsonl"));
    all.insert(all.end(), {"--protocol", protocol, "--sparsity", "0.05", "--seed", "7", "--backward", "f32"});
    all.insert(all.end(), {"--prompt", "Nobody came", "--prompt=-5 % of it"});
    const Json said = json(all);
    const Json figures = Json::parse(file(std::string(protocol) + "/report.json"))["figures"];
    for (const char* member : {"version",
                               "machines",
                               "model",
                               "base_sha256",
                               "text",
                               "test",
                               "texts_sha256",
                               "documents",
                               "scored_tokens",
                               "scoring",
                               "seed",
                               "protocol",
                               "sparsity",
                               "levels",
                               "dose",
                               "steps",
                               "batch",
                               "context",
                               "lr",
                               "lr_relative_to_rms",
                               "lr_over_scale_low",
                               "gguf_sha256",
                               "nll_sha256"}) {
      EXPECT_TRUE(figures.contains(member)) << member;
      EXPECT_EQ(said[member], figures[member]) << member;
    }
    EXPECT_EQ(figures["documents"], 30);
    EXPECT_EQ(figures["seed"], 7);
    EXPECT_EQ(figures["protocol"], protocol);
    EXPECT_EQ(figures["machines"].size(), 1U);
    const std::string page = file(std::string(protocol) + "/report.md");
    for (const char* part : {"## To run it again", "rpt deploy ", "Seed 7;", "scored by protocol full", " threads"}) {
      EXPECT_NE(page.find(part), std::string::npos) << part;
    }
    EXPECT_EQ(page.find("lr/s") != std::string::npos, figures["protocol"] == "legacy");
    EXPECT_EQ(figures["lr_over_scale_high"].is_number(), figures["protocol"] == "legacy");
    // The command is one that does the same again.
    std::vector<std::string> again = words_of(figures["run_again"]);
    ASSERT_EQ(again.at(0), "rpt");
    again.erase(again.begin());
    ASSERT_EQ(again.at(2), "OUT");
    again[2] = path(std::string(protocol) + "-again");
    again.push_back("--quiet");
    EXPECT_EQ(json(again)["gguf_sha256"], figures["gguf_sha256"]);
    EXPECT_EQ(file(std::string(protocol) + "-again/run.json"), file(std::string(protocol) + "/run.json"));
  }
}

TEST_F(Deploy, PrunesByAnyScore) {
  const std::string model = small_model();
  for (const char* score : {"code", "wanda", "random"}) {
    auto all = words(model, score);
    all.insert(all.end(), {"--score", score, "--scope", "global", "--sparsity", "0.05"});
    EXPECT_NEAR(json(all)["states"][1]["codes_removed_share"].get<double>(), 0.05, 0.01) << score;
    // The recipe in its metadata is one that rpt prune replays.
    const Json recipe = Json::parse(file(std::string(score) + "/rpt_metadata.json"))["recipe"];
    core::write_file_atomic(path("recipe.json"), recipe.dump());
    const Json again = json({"prune", model, path(std::string(score) + "-again"), "--recipe", path("recipe.json")});
    EXPECT_NEAR(again["dose_codes"].get<double>(), 0.05, 0.01) << score;
  }
}

/// What was asked for stands apart from what is there at the end: a fine-tune moves codes too.
TEST_F(Deploy, SaysWhatItsDoseCounts) {
  const std::string model = small_model();
  const auto expect = [&](const std::string& out, const std::vector<std::string>& more, const std::string& asked) {
    auto all = words(model, out);
    all.insert(all.end(), more.begin(), more.end());
    const Json r = json(all);
    const Json& end = r["states"][r["states"].size() - 2];
    const std::string now =
        fmt::format("At the end, after pruning and fine-tunes together, {:.2f} % of all ternary weights have code 0",
                    100 * end["codes_removed_share"].get<double>());
    for (const char* page : {"/README.md", "/report.md"}) {
      const std::string text = file(out + page);
      EXPECT_NE(text.find(asked), std::string::npos) << out << page;
      EXPECT_NE(text.find(now), std::string::npos) << out << page << ": " << now;
      EXPECT_EQ(text.find("lost their code"), std::string::npos) << out << page;
    }
    return r;
  };
  const Json latents = expect("latents", {"--dose", "latents", "--sparsity", "0.05"},
                              "5 % of the ternary weights were pruned, each of which had a latent that was not 0");
  EXPECT_LT(latents["states"][1]["codes_removed_share"].get<double>(), 0.01);
  expect("codes", {"--sparsity", "0.05"}, "5 % of the ternary weights were pruned, each of which had a code of ±1");
  expect("none", {"--sparsity", "0"}, "nothing was pruned. ");
}

TEST_F(Deploy, AFineTuneThatDivergesIsNoSilentEnd) {
  const std::string model = small_model();
  auto all = words(model, "run");
  all.erase(std::find(all.begin(), all.end(), "--quiet"));
  all.insert(all.end(), {"--sparsity", "0.05"});
  const Outcome sound = rpt(all);
  ASSERT_EQ(sound.code, 0) << sound.err;
  EXPECT_EQ(sound.err.find("diverged"), std::string::npos) << sound.err;
  EXPECT_EQ(Json::parse(file("run/report.json"))["figures"]["warnings"], Json::array());
  all[2] = path("far");
  all.insert(all.end(), {"--lr", "1"});
  for (int i = 0; i < 2; ++i) {  // done, and looked at again
    const Outcome far = rpt(all);
    EXPECT_EQ(far.code, 0) << far.err;
    const std::size_t at = far.err.find("warning: 5 % fine-tuned: the fine-tune has diverged: NLL ");
    ASSERT_NE(at, std::string::npos) << far.err;
    EXPECT_EQ(far.err.find("diverged", far.err.find('\n', at)), std::string::npos) << "once";
  }
  const Json figures = Json::parse(file("far/report.json"))["figures"];
  ASSERT_EQ(figures["warnings"].size(), 1U);
  const auto& states = figures["states"];
  EXPECT_GT(states[2]["mean_nll"].get<double>(), states[1]["mean_nll"].get<double>() + 1);
  for (const char* page : {"far/README.md", "far/report.md"}) {
    EXPECT_NE(file(page).find("Warning: 5 % fine-tuned: the fine-tune has diverged"), std::string::npos) << page;
  }
}

TEST_F(Deploy, TextsThatAreNoUtf8AreNamed) {
  const std::string model = small_model();
  for (const char* name : {"text.txt", "test.jsonl"}) {
    const std::string before = file(name);
    core::write_file_atomic(path(name), "Some words, then \xff\xfe\n" + before);
    const Outcome o = rpt(words(model, "run"));
    core::write_file_atomic(path(name), before);
    EXPECT_EQ(o.code, 3);
    EXPECT_EQ(o.err, "rpt: " + path(name) + ": at offset 17 (text): expected UTF-8, found byte 0xff\n");
    EXPECT_FALSE(std::filesystem::exists(path("run")));
  }
}

TEST_F(Deploy, NamesOfFilesNeedNotBeUtf8) {
  const std::string model = small_model();
  const std::string odd = path("t\xe4st.jsonl");  // Latin-1
  std::filesystem::copy_file(path("test.jsonl"), odd);
  auto all = words(model, "run");
  std::replace(all.begin(), all.end(), path("test.jsonl"), odd);
  all.insert(all.end(), {"--sparsity", "0"});
  for (int i = 0; i < 2; ++i) {  // begun, and gone on with
    const Outcome o = rpt(all);
    EXPECT_EQ(o.code, 0) << o.err;
  }
  EXPECT_EQ(Json::parse(file("run/run.json"))["test"], path("t\xef\xbf\xbdst.jsonl"));
}

TEST_F(Deploy, WhatIsTrainedOnIsNotScored) {
  const std::string model = small_model();
  auto all = words(model, "run");
  core::write_file_atomic(path("test.jsonl"), Json({{"text", file("text.txt") + " \n"}}).dump());
  const Outcome refused = rpt(all);
  EXPECT_EQ(refused.code, 3);
  EXPECT_NE(refused.err.find("the test text holds a document that is trained on (The house on hill 0 stood alone."),
            std::string::npos)
      << refused.err;
  // What a training document merely contains is no leak: it may be a word.
  core::write_file_atomic(path("test.jsonl"),
                          Json({{"text", "The house stood alone, and nobody knew the hill."}}).dump() + "\n" +
                              Json({{"text", "hill"}}).dump());
  all.insert(all.end(), {"--dry-run"});
  EXPECT_EQ(rpt(all).code, 0);
}

TEST_F(Deploy, RefusesAtOnceWhatItCouldNotFinish) {
  const std::string model = small_model();
  const auto refused = [&](const std::vector<std::string>& more) {
    auto all = words(model, "run");
    all.insert(all.end(), more.begin(), more.end());
    const Outcome outcome = rpt(all);
    EXPECT_EQ(outcome.code, 3) << outcome.err;
    EXPECT_EQ(std::count(outcome.err.begin(), outcome.err.end(), '\n'), 1) << outcome.err;
    EXPECT_FALSE(std::filesystem::exists(path("run")));
    return outcome.err;
  };
  for (const char* dry : {"--threads=1", "--dry-run"}) {
    const std::string dose = refused({"--sparsity", "0.9", dry});
    EXPECT_NE(dose.find("a sparsity of 0.9 is asked for, at most 0."), std::string::npos) << dose;
    std::string prompt;
    for (int i = 0; i < 3000; ++i) prompt += "winter ";
    const std::string prompts = refused({"--prompt", "Nobody", "--prompt", prompt, dry});
    EXPECT_NE(prompts.find("the prompt \"winter winter"), std::string::npos) << prompts;
    EXPECT_NE(prompts.find("the model's context is"), std::string::npos) << prompts;
    EXPECT_NE(refused({"--prompt", "\xff", dry}).find("is no UTF-8"), std::string::npos);
    const std::string before = file("test.jsonl");
    core::write_file_atomic(path("test.jsonl"), Json({{"text", "Nobody came."}}).dump());
    const std::string legacy = refused({"--protocol", "legacy", dry});
    core::write_file_atomic(path("test.jsonl"), before);
    EXPECT_NE(legacy.find("legacy"), std::string::npos) << legacy;
  }
}

TEST_F(Deploy, RefusesWhatItCannotUse) {
  const std::string model = small_model();
  std::filesystem::create_directory(path("full"));
  core::write_file_atomic(path("full/other"), "here first");
  EXPECT_EQ(rpt(words(model, "full")).code, 3);
  // A shape that the file at the end cannot hold is refused before anything is trained.
  const Json narrow = {{"model", {{"hidden", 64}, {"feed_forward", 128}, {"layers", 1}, {"heads", 2}, {"kv_heads", 1}}},
                       {"tokenizer", seedling_},
                       {"data", {{{"text", "sotu:test"}}}},
                       {"steps", 1},
                       {"context", 32},
                       {"hold_out", 0}};
  core::write_file_atomic(path("narrow.json"), narrow.dump());
  ASSERT_EQ(rpt({"train", path("narrow.json"), path("narrow"), "--quiet"}).code, 0);
  const Outcome refused = rpt(words(path("narrow/model"), "refused"));
  EXPECT_EQ(refused.code, 3);
  EXPECT_NE(refused.err.find("multiples of 128"), std::string::npos) << refused.err;
  auto all = words(model, "run");
  all.insert(all.end(), {"--memory-limit", "0.0001"});
  const Outcome small = rpt(all);
  EXPECT_EQ(small.code, 3);
  EXPECT_NE(small.err.find("a memory limit of 0.0001 GB: the run needs"), std::string::npos) << small.err;
  for (const char* share : {"nan", "-0.1", "0.96"}) {
    auto words_of = words(model, "run");
    words_of.insert(words_of.end(), {"--sparsity", share});
    EXPECT_EQ(rpt(words_of).code, 2) << share;
  }
  auto long_context = words(model, "run");
  *std::find(long_context.begin(), long_context.end(), "32") = "100000";
  EXPECT_NE(rpt(long_context).err.find("the model has"), std::string::npos);
  core::write_file_atomic(path("short.txt"), "Too short.");
  auto short_text = words(model, "run");
  *std::find(short_text.begin(), short_text.end(), path("text.txt")) = path("short.txt");
  EXPECT_NE(rpt(short_text).err.find("the text to fine-tune on has"), std::string::npos);
  all.back() = "100";
  all.push_back("--dry-run");
  EXPECT_GT(json(all)["memory_bytes"].get<double>(), 0);
  EXPECT_FALSE(std::filesystem::exists(path("run")));
}

}  // namespace
}  // namespace rpt::cli
