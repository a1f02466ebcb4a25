#include "sandbox/layers/layer.h"

#include <gtest/gtest.h>

namespace cofferdam::sandbox {
namespace {

TEST(Layer, EveryNameLeadsBackToItsLayer) {
  for (int i = 0; i < kLayerCount; ++i) {
    const auto layer = static_cast<Layer>(i);
    EXPECT_EQ(LayerFromName(LayerName(layer)), layer);
  }
  EXPECT_EQ(LayerFromName("selinux"), std::nullopt);
  EXPECT_EQ(LayerName(Layer::kUndumpable), "undumpable");
}

TEST(LayerSet, HoldsWhatWasPutIn) {
  const LayerSet set = LayerSet().With(Layer::kSeccomp).With(Layer::kNetNamespace);
  EXPECT_TRUE(set.Has(Layer::kSeccomp));
  EXPECT_FALSE(set.Has(Layer::kPidNamespace));
  EXPECT_FALSE(set.Without(Layer::kSeccomp).Has(Layer::kSeccomp));
}

}  // namespace
}  // namespace cofferdam::sandbox
