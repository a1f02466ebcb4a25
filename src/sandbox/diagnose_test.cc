#include "sandbox/diagnose.h"

#include <unistd.h>

#include <gtest/gtest.h>

namespace cofferdam::sandbox {
namespace {

TEST(Diagnose, NamesEveryLayerOnceAndSaysWhyOneIsMissing) {
  const Diagnosis diagnosis = Diagnose();
  ASSERT_EQ(diagnosis.layers.size(), static_cast<std::size_t>(kLayerCount));
  bool any_required_missing = false;
  for (int i = 0; i < kLayerCount; ++i) {
    const LayerDiagnosis& layer = diagnosis.layers[static_cast<std::size_t>(i)];
    EXPECT_EQ(layer.layer, static_cast<Layer>(i));
    EXPECT_FALSE(layer.detail.empty());
    any_required_missing |= layer.required && !layer.available;
  }
  EXPECT_EQ(diagnosis.RunWouldBeRefused(), diagnosis.impossible || any_required_missing);
}

}  // namespace
}  // namespace cofferdam::sandbox
