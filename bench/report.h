// How every bench prints: a table for a person, or with --json one document.
#pragma once

#include <string>
#include <utility>
#include <vector>

namespace cofferdam::bench {

/// Samples of one thing, in `unit`.
struct Row {
  std::string name;
  std::string unit;
  std::vector<double> samples;
};

class Report {
 public:
  explicit Report(std::string bench) : bench_(std::move(bench)) {}

  void Add(Row row) { rows_.push_back(std::move(row)); }
  void AddRatio(std::string name, double value) { ratios_.emplace_back(std::move(name), value); }
  /// The median of a row that was added.
  double MedianOf(const std::string& name) const;

  /// {"bench":…,"rows":[{"name":…,"unit":…,"min":…,"median":…,"p99":…}],"ratios":{…}} or the table.
  void Print(bool as_json) const;

 private:
  std::string bench_;
  std::vector<Row> rows_;
  std::vector<std::pair<std::string, double>> ratios_;
};

/// True when the arguments hold --json; anything else but `--count N` ends the program with a usage
/// line. `count` is the number of samples.
struct Options {
  bool json = false;
  int count = 200;
};
Options ParseOptions(int argc, char** argv);

}  // namespace cofferdam::bench
