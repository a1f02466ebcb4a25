#include "report.h"

#include <algorithm>
#include <charconv>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <iostream>

#include "base/check.h"
#include "json/json.h"

namespace cofferdam::bench {

double Quantile(std::vector<double> samples, double share) {
  CHECK(!samples.empty());
  std::ranges::sort(samples);
  const auto index =
      static_cast<std::size_t>(share * static_cast<double>(samples.size() - 1) + 0.5);
  return samples[index];
}

void Report::Add(Row row) {
  if (!row.samples.empty()) rows_.push_back(std::move(row));
}

void Report::AddValue(std::string name, std::string unit, double value) {
  Add({std::move(name), std::move(unit), {value}});
}

const Row* Report::Find(const std::string& name) const {
  const auto found = std::ranges::find(rows_, name, &Row::name);
  return found == rows_.end() ? nullptr : &*found;
}

bool Report::Has(const std::string& name) const { return Find(name) != nullptr; }

double Report::QuantileOf(const std::string& name, double share) const {
  const Row* row = Find(name);
  CHECK(row != nullptr);
  return Quantile(row->samples, share);
}

void Report::AddRatioOfMedians(std::string name, const std::string& row, const std::string& to) {
  if (Has(row) && Has(to)) AddRatio(std::move(name), MedianOf(row) / MedianOf(to));
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
                                  {"p95", Quantile(row.samples, 0.95)},
                                  {"p99", Quantile(row.samples, 0.99)},
                                  {"samples", row.samples.size()}});
    for (const auto& [name, value] : ratios_) document["ratios"][name] = value;
    std::cout << json::Dump(document) << "\n";
    return;
  }
  std::printf("%-38s %6s %11s %11s %11s %11s %8s\n", bench_.c_str(), "unit", "min", "median", "p95",
              "p99", "samples");
  for (const Row& row : rows_)
    std::printf("%-38s %6s %11.1f %11.1f %11.1f %11.1f %8zu\n", row.name.c_str(), row.unit.c_str(),
                Quantile(row.samples, 0), Quantile(row.samples, 0.5), Quantile(row.samples, 0.95),
                Quantile(row.samples, 0.99), row.samples.size());
  for (const auto& [name, value] : ratios_) std::printf("ratio %-32s %.3f\n", name.c_str(), value);
}

Options ParseOptions(int argc, char** argv, std::vector<int> defaults) {
  Options options;
  for (int i = 1; i < argc; ++i) {
    if (std::strcmp(argv[i], "--json") == 0) {
      options.json = true;
      continue;
    }
    if (std::strcmp(argv[i], "--count") == 0 && i + 1 < argc) ++i;
    int count = 0;
    const char* end = argv[i] + std::strlen(argv[i]);
    const auto [stop, error] = std::from_chars(argv[i], end, count);
    if (error != std::errc() || stop != end || count <= 0) {
      std::fprintf(stderr, "usage: %s [--json] [--count N | N…]\n", argv[0]);
      std::exit(2);
    }
    options.counts.push_back(count);
  }
  if (options.counts.empty()) options.counts = std::move(defaults);
  return options;
}

}  // namespace cofferdam::bench
