// How every bench prints: a table for a person, or with --json one document.
#pragma once

#include <string>
#include <utility>
#include <vector>

namespace cofferdam::bench {

/// Samples of one thing, in `unit`; a row without samples is not printed.
struct Row {
  std::string name;
  std::string unit;
  std::vector<double> samples;
};

/// The sample below which `share` of them lie. There is at least one (CHECKed).
double Quantile(std::vector<double> samples, double share);

class Report {
 public:
  explicit Report(std::string bench) : bench_(std::move(bench)) {}

  void Add(Row row);
  /// A row of one sample: something that was counted or taken once.
  void AddValue(std::string name, std::string unit, double value);
  void AddRatio(std::string name, double value) { ratios_.emplace_back(std::move(name), value); }

  /// Whether a row of this name was added and has samples.
  bool Has(const std::string& name) const;
  /// Of a row that was added and has samples.
  double QuantileOf(const std::string& name, double share) const;
  double MedianOf(const std::string& name) const { return QuantileOf(name, 0.5); }
  /// The ratio of two rows' medians; nothing is added when one of them has no samples.
  void AddRatioOfMedians(std::string name, const std::string& row, const std::string& to);

  /// {"bench":…,"rows":[{"name":…,"unit":…,"min":…,"median":…,"p95":…,"p99":…,"samples":…}],
  ///  "ratios":{…}} or the table.
  void Print(bool as_json) const;

 private:
  const Row* Find(const std::string& name) const;

  std::string bench_;
  std::vector<Row> rows_;
  std::vector<std::pair<std::string, double>> ratios_;
};

struct Options {
  bool json = false;
  /// How many samples or sandboxes; never empty.
  std::vector<int> counts;
  int count() const { return counts.front(); }
};

/// Understands --json, and numbers as arguments or as `--count N`; without one, `defaults`.
/// Anything else ends the program with a usage line.
Options ParseOptions(int argc, char** argv, std::vector<int> defaults = {200});

}  // namespace cofferdam::bench
