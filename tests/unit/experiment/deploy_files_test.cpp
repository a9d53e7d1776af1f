// SPDX-License-Identifier: MIT
#include "rpt/experiment/deploy_files.h"

#include <gtest/gtest.h>

#include <algorithm>

#include "rpt/core/atomic_file.h"
#include "rpt/core/error.h"
#include "rpt/core/sha256.h"
#include "rpt/model/masks.h"
#include "rpt/prune/apply.h"
#include "rpt/prune/snap.h"
#include "tests/tiny_model.h"

namespace rpt::experiment {
namespace {

class DeployFiles : public ::testing::Test {
 protected:
  std::string file(const std::string& name) const { return core::read_file(folder_ / name); }
  void write(const std::string& name, const std::string& text) const { core::write_file_atomic(folder_ / name, text); }

  /// Writes the card of the run in "run" and returns what was said.
  std::string card(const std::string& text) const {
    RunDirectory run(folder_ / "run", "{}");
    std::string said;
    write_card(run, text, [&](const std::string& line) { said += line + "\n"; });
    return said;
  }

  test::ScratchFolder folder_;
};

TEST_F(DeployFiles, ACardThatSomebodyHasEditedIsLeft) {
  EXPECT_EQ(card("one"), "");
  EXPECT_EQ(file("run/README.md"), "one");
  EXPECT_EQ(card("two"), "") << "its own may be renewed";
  EXPECT_EQ(file("run/README.md"), "two");
  write("run/README.md", "two, and more");
  for (const char* text : {"two", "three"}) {
    const std::string said = card(text);
    EXPECT_NE(said.find("README.md: is not what this run wrote, and is left as it is"), std::string::npos) << said;
    EXPECT_EQ(std::count(said.begin(), said.end(), '\n'), 1) << said;
    EXPECT_EQ(file("run/README.md"), "two, and more");
  }
  std::filesystem::remove(folder_ / "run/README.md");
  EXPECT_EQ(card("three"), "");
  EXPECT_EQ(file("run/README.md"), "three");
  // Killed between the card and its note, a run finds what it wanted to write.
  write("run/README.md", "four");
  EXPECT_EQ(card("four"), "");
  EXPECT_EQ(card("five"), "");
  EXPECT_EQ(file("run/README.md"), "five");
}

TEST_F(DeployFiles, AFolderWithOtherThingsIsNotReplaced) {
  const auto model = test::TinyModel::make();
  const auto place = folder_ / "latents";
  write_directory(*model, place, model::HfForm::latents, nullptr);
  EXPECT_TRUE(gives_the_same(place, *model));
  EXPECT_NO_THROW(write_directory(*model, place, model::HfForm::latents, nullptr)) << "nothing but its own";
  write("latents/notes", "mine");
  try {
    write_directory(*model, place, model::HfForm::latents, nullptr);
    FAIL() << "notes are lost";
  } catch (const OutputError& e) {
    EXPECT_NE(std::string(e.what()).find("notes: this run did not write it"), std::string::npos) << e.what();
  }
  EXPECT_EQ(file("latents/notes"), "mine");
  write("latents/model.safetensors", "damaged");
  EXPECT_FALSE(gives_the_same(place, *model));
  EXPECT_FALSE(gives_the_same(folder_ / "none", *model));
  EXPECT_FALSE(gives_the_same(folder_ / "latents/notes", *model));
}

TEST_F(DeployFiles, AnotherModelIsNotReplaced) {
  const auto model = test::TinyModel::make();
  test::TinyShape shape;
  shape.seed = 2;
  const auto other = test::TinyModel::make(shape);
  const auto file = folder_ / "model.gguf";
  EXPECT_NO_THROW(require_own_gguf(file, *model, true));
  write("model.gguf", "damaged");
  EXPECT_NO_THROW(require_own_gguf(file, *model, true));
  model::export_gguf(*model, file, tensor::DType::i2_s, {});
  EXPECT_NO_THROW(require_own_gguf(file, *model, false)) << "of a run that was killed behind it";
  EXPECT_THROW(require_own_gguf(file, *model, true), OutputError);
  EXPECT_THROW(require_own_gguf(file, *other, false), OutputError);
}

TEST_F(DeployFiles, CountsWhatIsTernary) {
  const auto model = test::TinyModel::make();
  const double of_latents = ternary_share(*model);
  EXPECT_LT(of_latents, 0.1) << "random latents hit 0 and the scale seldom";
  const auto snapped = prune::snap(*model, prune::SnapRule::online).model;
  EXPECT_EQ(ternary_share(*snapped), 1);
  // What is zeroed is ternary, and of latents nothing else becomes so.
  model::Masks masks = model::full_masks(model->config);
  std::uint64_t weights = 0;
  for (model::LinearMask& mask : masks.linears) {
    weights += mask.keep.size();
    std::fill_n(mask.keep.begin(), mask.keep.size() / 2, std::uint8_t{0});
  }
  const auto half = prune::apply_masks(*model, masks);
  EXPECT_GE(ternary_share(*half), static_cast<double>(masks.pruned()) / static_cast<double>(weights));
  EXPECT_LT(ternary_share(*half), 0.6);
}

TEST_F(DeployFiles, HashesAFileInParts) {
  const std::string long_text((1 << 20) + 17, 'x');
  for (const std::string& text : {std::string(), std::string("abc"), long_text, long_text.substr(17)}) {
    write("file", text);
    EXPECT_EQ(file_sha256(folder_ / "file"), core::sha256_hex(text)) << text.size();
  }
  EXPECT_FALSE(file_sha256(folder_ / "none"));
  EXPECT_FALSE(file_sha256(folder_ / "."));
}

}  // namespace
}  // namespace rpt::experiment
