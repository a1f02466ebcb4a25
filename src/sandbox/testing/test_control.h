// The pass-key with which a test leaves a layer off, to show that the attack it stops would succeed
// without it. Only code that includes this file can do that.
#pragma once

#include "sandbox/spec.h"

namespace cofferdam::sandbox {

class TestControl {
 public:
  /// `spec` without `layer`. What the layer depends on stays.
  static SandboxSpec WithoutForTest(SandboxSpec spec, Layer layer) {
    spec.skip_ = spec.skip_.With(layer);
    return spec;
  }
};

}  // namespace cofferdam::sandbox
