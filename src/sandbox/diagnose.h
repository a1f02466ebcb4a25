// What of the sandbox can be had on this machine, found out by making one.
#pragma once

#include <string>
#include <vector>

#include "sandbox/layers/layer.h"

namespace cofferdam::sandbox {

struct LayerDiagnosis {
  Layer layer;
  bool available = false;
  /// A run is refused without it, unless the caller accepts that it is missing.
  bool required = true;
  /// How it was seen in force, or why it cannot be had.
  std::string detail;
  /// What to do about it; empty when it is available.
  std::string remedy;
};

struct Diagnosis {
  std::vector<LayerDiagnosis> layers;  // all of them, in order
  /// No sandbox can be made here, whatever the caller accepts; why stands with the layers.
  bool impossible = false;
  bool RunWouldBeRefused() const;
};

/// Makes sandboxes, leaving out what cannot be had, until one starts or an indispensable layer is
/// missing. Takes a few milliseconds; leaves nothing behind.
Diagnosis Diagnose();

}  // namespace cofferdam::sandbox
