#include "report.h"

#include <algorithm>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <iostream>

#include "base/check.h"
#include "json/json.h"

namespace cofferdam::bench {
namespace {

double Quantile(std::vector<double> samples, double share) {
  CHECK(!samples.empty());
  std::ranges::sort(samples);
  const auto index =
      static_cast<std::size_t>(share * static_cast<double>(samples.size() - 1) + 0.5);
  return samples[index];
}

}  // namespace

double Report::MedianOf(const std::string& name) const {
  const auto found = std::ranges::find(rows_, name, &Row::name);
  CHECK(found != rows_.end());
  return Quantile(found->samples, 0.5);
}

void Report::Print(bool as_json) const {
  if (as_json) {
    json::Json document = {
        {"bench", bench_}, {"rows", json::Json::array()}, {"ratios", json::Json::object()}};
    for (const Row& row : rows_)
      document["rows"].push_back({{"name", row.name},
                                  {"unit", row.unit},
                                  {"min", Quantile(row.samples, 0)},
                                  {"median", Quantile(row.samples, 0.5)},
                                  {"p99", Quantile(row.samples, 0.99)}});
    for (const auto& [name, value] : ratios_) document["ratios"][name] = value;
    std::cout << json::Dump(document) << "\n";
    return;
  }
  std::printf("%-34s %6s %12s %12s %12s %8s\n", bench_.c_str(), "unit", "min", "median", "p99",
              "samples");
  for (const Row& row : rows_)
    std::printf("%-34s %6s %12.1f %12.1f %12.1f %8zu\n", row.name.c_str(), row.unit.c_str(),
                Quantile(row.samples, 0), Quantile(row.samples, 0.5), Quantile(row.samples, 0.99),
                row.samples.size());
  for (const auto& [name, value] : ratios_) std::printf("ratio %-28s %.3f\n", name.c_str(), value);
}

Options ParseOptions(int argc, char** argv) {
  Options options;
  for (int i = 1; i < argc; ++i) {
    if (std::strcmp(argv[i], "--json") == 0) {
      options.json = true;
    } else if (std::strcmp(argv[i], "--count") == 0 && i + 1 < argc && std::atoi(argv[i + 1]) > 0) {
      options.count = std::atoi(argv[++i]);
    } else {
      std::fprintf(stderr, "usage: %s [--json] [--count N]\n", argv[0]);
      std::exit(2);
    }
  }
  return options;
}

}  // namespace cofferdam::bench
