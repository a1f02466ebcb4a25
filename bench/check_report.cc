// Reads what a bench printed with --json and checks it: one document, of that bench, with rows and
// with the ratios that are named. For smoke.sh.

#include <unistd.h>

#include <cstdio>

#include "json/json.h"
#include "sys/fd.h"

namespace cofferdam::bench {
namespace {

int Complain(const std::string& why) {
  std::fprintf(stderr, "%s\n", why.c_str());
  return 1;
}

int Main(int argc, char** argv) {
  if (argc < 2) return Complain("usage: bench_check_report BENCH RATIO… <REPORT");
  const auto text = sys::ReadAll(STDIN_FILENO, 1 << 20);
  if (!text) return Complain(text.error().ToString());
  const auto document = json::Parse(*text);
  if (!document) return Complain(document.error().ToString());
  if (document->value("bench", "") != argv[1]) return Complain("it is of another bench");
  if (!document->contains("rows") || document->at("rows").empty())
    return Complain("there are no rows");
  for (int i = 2; i < argc; ++i)
    if (!document->contains("ratios") || !document->at("ratios").contains(argv[i]))
      return Complain(std::string("there is no ratio ") + argv[i]);
  return 0;
}

}  // namespace
}  // namespace cofferdam::bench

int main(int argc, char** argv) { return cofferdam::bench::Main(argc, argv); }
