// SPDX-License-Identifier: MIT
#include <fmt/format.h>

#include <cctype>
#include <charconv>
#include <iostream>
#include <iterator>

#include "rpt/cli/context.h"
#include "rpt/cli/scoring.h"
#include "rpt/core/atomic_file.h"
#include "rpt/core/error.h"
#include "rpt/text/utf8.h"

namespace rpt::cli {
namespace {

struct TokenizeOptions {
  std::string model;
  std::string text;
  bool special = false;
  bool decode = false;
  bool ids_only = false;
};

std::string read_input(const TokenizeOptions& options, const Context& context) {
  if (!options.text.empty() && options.text != "-") {
    return options.decode ? core::read_file(options.text) : text::load_text(find_text(options.text));
  }
  return {std::istreambuf_iterator<char>(context.in()), std::istreambuf_iterator<char>()};
}

/// The vocabulary of a model, or one that stands alone. Of files only the vocabulary is read.
text::Tokenizer open_vocabulary(const std::string& name, const Context& context) {
  const std::filesystem::path path = name;
  std::error_code error;
  const bool is_model = !std::filesystem::exists(path, error) || std::filesystem::exists(path / "config.json", error);
  if (is_model) return open_model(name, context)->vocabulary();
  std::vector<std::string> warnings;
  const text::Tokenizer vocabulary = model::open_vocabulary(path, warnings);
  for (const std::string& warning : warnings) context.say("warning: " + warning);
  return vocabulary;
}

/// Integers separated by white space or commas.
std::vector<std::int32_t> parse_ids(std::string_view text) {
  std::vector<std::int32_t> ids;
  const auto separates = [](char c) { return std::isspace(static_cast<unsigned char>(c)) != 0 || c == ','; };
  for (std::size_t at = 0; at < text.size();) {
    if (separates(text[at])) {
      ++at;
      continue;
    }
    std::int32_t id = 0;
    const auto [end, error] = std::from_chars(text.data() + at, text.data() + text.size(), id);
    const auto next = static_cast<std::size_t>(end - text.data());
    if (error != std::errc() || (next < text.size() && !separates(text[next]))) {
      throw FormatError("token ids", at, "a list of ids", "integers", std::string(text.substr(at, 12)));
    }
    ids.push_back(id);
    at = next;
  }
  return ids;
}

/// A piece as one printable line.
std::string printable(const std::string& piece) {
  std::string out;
  for (const char c : text::replace_invalid_utf8(piece)) {
    switch (c) {
      case '\n':
        out += "\\n";
        break;
      case '\r':
        out += "\\r";
        break;
      case '\t':
        out += "\\t";
        break;
      case '\\':
        out += "\\\\";
        break;
      default:
        if (static_cast<unsigned char>(c) < 0x20 || c == 0x7f) {
          out += fmt::format("\\x{:02x}", static_cast<unsigned char>(c));
        } else {
          out += c;
        }
    }
  }
  return out;
}

int run_decode(const TokenizeOptions& options, const text::Tokenizer& vocabulary, Context& context) {
  const std::vector<std::int32_t> ids = parse_ids(read_input(options, context));
  const std::string text = vocabulary.decode(ids);
  context.out() << text;
  report::Record figures;
  figures.set("token_ids", std::vector<std::int64_t>(ids.begin(), ids.end()));
  figures.set("text", text::replace_invalid_utf8(text));
  context.write_json("tokenize", options.model, figures);
  return 0;
}

int run_tokenize(const TokenizeOptions& options, Context& context) {
  const text::Tokenizer vocabulary = open_vocabulary(options.model, context);
  if (options.decode) return run_decode(options, vocabulary, context);

  const std::string text = read_input(options, context);
  std::uint64_t dropped = 0;
  const auto ids = vocabulary.encode(text, {.special = options.special}, &dropped);
  if (dropped > 0) {
    context.say(fmt::format("warning: {} bytes have no token in this vocabulary and were dropped", dropped));
  }
  std::vector<std::string> pieces;
  for (const std::int32_t id : ids) pieces.push_back(vocabulary.piece(id));
  if (context.common.json != "-") {
    for (std::size_t i = 0; i < ids.size(); ++i) {
      if (options.ids_only) {
        context.out() << ids[i] << '\n';
      } else {
        context.out() << fmt::format("{:>8}  {}\n", ids[i], printable(pieces[i]));
      }
    }
  }
  context.say(fmt::format("{} tokens for {} bytes", ids.size(), text.size()));

  report::Record figures;
  figures.set("tokens", static_cast<std::int64_t>(ids.size()));
  figures.set("bytes", static_cast<std::int64_t>(text.size()));
  figures.set("dropped_bytes", static_cast<std::int64_t>(dropped));
  figures.set("token_ids", std::vector<std::int64_t>(ids.begin(), ids.end()));
  for (std::string& piece : pieces) piece = text::replace_invalid_utf8(piece);
  figures.set("pieces", pieces);
  context.write_json("tokenize", options.model, figures);
  return 0;
}

}  // namespace

Command add_tokenize(CLI::App& program) {
  auto options = std::make_shared<TokenizeOptions>();
  CLI::App* app = program.add_subcommand("tokenize", "Turn text into token ids, or ids into text");
  app->add_option("MODEL", options->model,
                  "Hugging Face directory, .gguf file, name of an embedded model, or a tokenizer.json, "
                  "tokenizer.model or tokenizer.bin")
      ->required();
  app->add_option("TEXT", options->text, "File, or name of an embedded corpus (default, or -: standard input)");
  app->add_flag("--special", options->special, "Recognise special tokens written in the text");
  app->add_flag("--decode", options->decode, "The input is a list of ids; write their text");
  app->add_flag("--ids", options->ids_only, "Print ids only, without their pieces");
  app->footer("Example:\n  echo \"The old house\" | rpt tokenize seedling");
  return {app, [options](Context& context) { return run_tokenize(*options, context); }};
}

}  // namespace rpt::cli
