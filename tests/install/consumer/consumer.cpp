// SPDX-License-Identifier: MIT
#include <rpt/generate/session.h>

#include <cstdio>

int main(int, char** argv) {
  const auto model = rpt::model::open_model(argv[1]);
  rpt::generate::Session session(*model, 8, {});
  session.append(model->vocabulary().encode("Once"));
  const auto token = session.next_token();
  std::printf("%s\n", model->vocabulary().piece(*token).c_str());
  return token ? 0 : 1;
}
