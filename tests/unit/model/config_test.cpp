// SPDX-License-Identifier: MIT
#include "rpt/model/config.h"

#include <gtest/gtest.h>

#include "rpt/core/error.h"
#include "rpt/model/weights.h"

namespace rpt::model {
namespace {

std::string base(const std::string& extra = "", const std::string& mode = "online") {
  return R"({"model_type":"bitnet","hidden_act":"relu2","hidden_size":256,"intermediate_size":768,"num_hidden_layers":4,
    "num_attention_heads":4,"num_key_value_heads":2,"max_position_embeddings":1024,"vocab_size":4096,"rms_norm_eps":1e-05,
    "tie_word_embeddings":true,"bos_token_id":0,"eos_token_id":[1,2],)" +
         extra +
         R"("quantization_config":{"quant_method":"bitnet","linear_class":"autobitlinear","quantization_mode":")" +
         mode + "\"}}";
}

TEST(HfConfig, ReadsWhatTransformersWrites) {
  const HfConfig hf = parse_hf_config(base(R"("rope_theta":500000.0,"torch_dtype":"bfloat16",)"), "config.json");
  EXPECT_EQ(hf.mode, QuantizationMode::online);
  EXPECT_EQ(hf.dtype, "bfloat16");
  EXPECT_EQ(hf.config.hidden, 256);
  EXPECT_EQ(hf.config.feed_forward, 768);
  EXPECT_EQ(hf.config.layers, 4);
  EXPECT_EQ(hf.config.heads, 4);
  EXPECT_EQ(hf.config.kv_heads, 2);
  EXPECT_EQ(hf.config.head_size, 64);
  EXPECT_EQ(hf.config.vocabulary, 4096);
  EXPECT_EQ(hf.config.context, 1024);
  EXPECT_EQ(hf.config.norm_epsilon, 1e-5F);
  EXPECT_EQ(hf.config.rope_theta, 500000.0);
  EXPECT_TRUE(hf.config.tied_head);
  EXPECT_EQ(hf.config.bos_id, 0);
  EXPECT_EQ(hf.config.eos_ids, (std::vector<std::int32_t>{1, 2}));
}

TEST(HfConfig, RopeParametersWinOverRopeTheta) {
  const auto hf = parse_hf_config(
      base(
          R"("rope_theta":500000.0,"dtype":"float32","rope_parameters":{"rope_theta":10000.0,"rope_type":"default"},)"),
      "c");
  EXPECT_EQ(hf.config.rope_theta, 10000.0);
  EXPECT_EQ(hf.dtype, "float32");
}

TEST(HfConfig, SiluIsTheBitnetArchitecture) {
  std::string json = base();
  json.replace(json.find("relu2"), 5, "silu");
  EXPECT_EQ(parse_hf_config(json, "c").config.architecture, "bitnet");
}

TEST(HfConfig, WritesWhatItReads) {
  const HfConfig hf = parse_hf_config(base(R"("rope_theta":500000.0,"pad_token_id":3,)", "offline"), "c");
  const HfConfig again = parse_hf_config(to_hf_config_json(hf), "c");
  EXPECT_EQ(again.mode, QuantizationMode::offline);
  EXPECT_EQ(again.config.norm_epsilon, hf.config.norm_epsilon);
  EXPECT_EQ(again.config.rope_theta, hf.config.rope_theta);
  EXPECT_EQ(again.config.eos_ids, hf.config.eos_ids);
  EXPECT_EQ(again.config.pad_id, hf.config.pad_id);
  EXPECT_EQ(again.config.kv_heads, hf.config.kv_heads);
}

std::string llama(const std::string& extra) {
  return R"({"model_type":"llama","hidden_size":64,"intermediate_size":96,"num_hidden_layers":2,"num_attention_heads":4,
    "vocab_size":100)" +
         extra + "}";
}

TEST(HfConfig, LlamaIsDenseUnlessItSaysOtherwise) {
  const HfConfig hf = parse_hf_config(llama(""), "c");
  EXPECT_EQ(hf.family, HfFamily::llama);
  EXPECT_EQ(hf.linear_class, LinearClass::dense);
  EXPECT_EQ(hf.config.architecture, "llama");
  EXPECT_FALSE(hf.config.sub_norms);
  EXPECT_EQ(hf.config.activation, Activation::silu);
  EXPECT_EQ(hf.config.rope_theta, 10000.0);
  EXPECT_EQ(hf.config.norm_epsilon, 1e-6F);
  EXPECT_EQ(hf.config.kv_heads, 4);
  EXPECT_FALSE(hf.config.tied_head);
  const HfConfig again = parse_hf_config(to_hf_config_json(hf), "c");
  EXPECT_EQ(again.family, HfFamily::llama);
  EXPECT_EQ(again.linear_class, LinearClass::dense);
  EXPECT_EQ(again.config.norm_epsilon, 1e-6F);
}

TEST(HfConfig, ATernaryLlamaDividesByItsScalesUnlessItSaysOtherwise) {
  const std::string quantised = R"(,"quantization_config":{"quant_method":"bitnet","modules_to_not_convert":null)";
  HfConfig hf = parse_hf_config(llama(quantised + "}"), "c");
  EXPECT_EQ(hf.linear_class, LinearClass::bitlinear);
  EXPECT_EQ(hf.mode, QuantizationMode::offline);
  EXPECT_EQ(parse_hf_config(to_hf_config_json(hf), "c").linear_class, LinearClass::bitlinear);
  hf = parse_hf_config(llama(quantised + R"(,"linear_class":"autobitlinear","quantization_mode":"online"})"), "c");
  EXPECT_EQ(hf.linear_class, LinearClass::autobitlinear);
  EXPECT_EQ(hf.mode, QuantizationMode::online);
}

TEST(HfConfig, OneBitLlmHasKeysOfItsOwn) {
  const std::string json =
      R"({"model_type":"bitnet","weight_bits":1,"input_bits":8,"hidden_act":"silu","hidden_size":64,
    "intermediate_size":96,"num_hidden_layers":2,"num_attention_heads":4,"vocab_size":100,"tie_word_embeddings":true})";
  const HfConfig hf = parse_hf_config(json, "c");
  EXPECT_EQ(hf.family, HfFamily::one_bit);
  EXPECT_EQ(hf.linear_class, LinearClass::autobitlinear);
  EXPECT_EQ(hf.mode, QuantizationMode::online);
  EXPECT_EQ(hf.config.architecture, "bitnet");
  EXPECT_TRUE(hf.config.sub_norms);
  EXPECT_EQ(hf.config.rope_theta, 10000.0);
  EXPECT_EQ(hf_tensor_name("blk.3.attn_sub_norm", HfFamily::one_bit), "model.layers.3.self_attn.inner_attn_ln.weight");
  EXPECT_EQ(hf_tensor_name("blk.3.ffn_sub_norm", HfFamily::one_bit), "model.layers.3.mlp.ffn_layernorm.weight");
  EXPECT_EQ(hf_tensor_name("blk.3.attn_q", HfFamily::one_bit), "model.layers.3.self_attn.q_proj.weight");
}

TEST(HfConfig, RefusesByName) {
  const auto message = [](const std::string& json) -> std::string {
    try {
      parse_hf_config(json, "config.json");
    } catch (const Error& e) {
      return e.what();
    }
    return "accepted";
  };
  const auto replaced = [](std::string json, const std::string& from, const std::string& to) {
    json.replace(json.find(from), from.size(), to);
    return json;
  };
  EXPECT_NE(message(replaced(base(), "\"bitnet\"", "\"gpt2\"")).find("model_type is \"gpt2\""), std::string::npos);
  EXPECT_NE(message(replaced(base(), "\"bitnet\"", "\"llama\"")).find("hidden_act is \"relu2\""), std::string::npos);
  EXPECT_NE(message(replaced(base(), "autobitlinear", "bitlinears")).find("linear_class"), std::string::npos);
  EXPECT_NE(message(replaced(base(), "\"quant_method\":\"bitnet\"", "\"quant_method\":\"gptq\"")).find("gptq"),
            std::string::npos);
  EXPECT_NE(
      message(replaced(base(), "\"quant_method\"", "\"use_rms_norm\":true,\"quant_method\"")).find("use_rms_norm"),
      std::string::npos);
  EXPECT_NE(message(replaced(base(), "\"quant_method\"",
                             "\"modules_to_not_convert\":[\"lm_head\",\"q_proj\"],\"quant_method\""))
                .find("modules_to_not_convert"),
            std::string::npos);
  EXPECT_NE(message(base(R"("mlp_bias":true,)")).find("mlp_bias"), std::string::npos);
  EXPECT_NE(message(base(R"("weight_bits":2,)")).find("weight_bits is 2"), std::string::npos);
  EXPECT_NE(message(base(R"("weight_bits":1,"input_bits":4,)")).find("input_bits is 4"), std::string::npos);
  EXPECT_NE(message(replaced(base(), "online", "sideways")).find("quantization_mode"), std::string::npos);
  EXPECT_NE(message(replaced(base(), "relu2", "gelu")).find("hidden_act"), std::string::npos);
  EXPECT_NE(message(base(R"("attention_bias":true,)")).find("attention_bias"), std::string::npos);
  EXPECT_NE(message(base(R"("rope_parameters":{"rope_type":"yarn"},)")).find("rope_type is \"yarn\""),
            std::string::npos);
  EXPECT_NE(message(base(R"("rope_scaling":{"factor":2},)")).find("rope_scaling"), std::string::npos);
  EXPECT_NE(message(replaced(base(), "\"hidden_size\":256", "\"hidden_size\":\"256\"")).find("hidden_size"),
            std::string::npos);
  EXPECT_NE(
      message(replaced(base(), "\"num_key_value_heads\":2", "\"num_key_value_heads\":3")).find("multiple of the 3"),
      std::string::npos);
  EXPECT_NE(message(replaced(base(), "\"hidden_size\":256", "\"hidden_size\":200000")).find("132104"),
            std::string::npos);
  EXPECT_NE(message(replaced(base(), "\"bos_token_id\":0", "\"bos_token_id\":4096")).find("BOS id"), std::string::npos);
  EXPECT_NE(message("{\"model_type\":").find("expected a JSON object"), std::string::npos);
  EXPECT_NE(message("{\"rms_norm_eps\":1e9999}").find("numbers that a double can hold"), std::string::npos);
  EXPECT_NE(message("[1]").find("expected a JSON object"), std::string::npos);
}

TEST(Config, ValidateNamesSourceAndProperty) {
  Config c = parse_hf_config(base(), "c").config;
  EXPECT_NO_THROW(validate(c, "here"));
  c.rope_theta = 0.5;
  try {
    validate(c, "here");
    FAIL();
  } catch (const ConfigError& e) {
    EXPECT_NE(std::string(e.what()).find("here: rope theta"), std::string::npos);
  }
}

}  // namespace
}  // namespace rpt::model
