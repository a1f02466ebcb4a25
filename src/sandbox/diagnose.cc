#include "sandbox/diagnose.h"

#include <algorithm>
#include <map>

#include "sandbox/local_sandbox.h"

namespace cofferdam::sandbox {
namespace {

Diagnosis Untried() {
  Diagnosis diagnosis;
  for (int i = 0; i < kLayerCount; ++i) {
    const auto layer = static_cast<Layer>(i);
    diagnosis.layers.push_back(
        {layer, false, layer != Layer::kLandlock, "not tried: another layer is missing", ""});
  }
  return diagnosis;
}

void Note(Diagnosis& diagnosis, const Error& error) {
  const auto layer = LayerOf(error);
  // An error that is about no layer stands with the first, so that nobody overlooks it.
  LayerDiagnosis& entry = diagnosis.layers[layer ? static_cast<std::size_t>(*layer) : 0];
  entry.available = false;
  entry.detail = error.message;
  entry.remedy = error.hint;
}

void NoteEvidence(Diagnosis& diagnosis, const std::vector<LayerEvidence>& evidence) {
  for (const LayerEvidence& seen : evidence) {
    LayerDiagnosis& entry = diagnosis.layers[static_cast<std::size_t>(*LayerFromName(seen.layer))];
    if (seen.how == "missing") continue;
    entry.available = true;
    entry.detail = seen.how + ": " + seen.detail;
  }
}

}  // namespace

bool Diagnosis::RunWouldBeRefused() const {
  return impossible || std::ranges::any_of(layers, [](const LayerDiagnosis& layer) {
           return layer.required && !layer.available;
         });
}

Diagnosis Diagnose() {
  Diagnosis diagnosis = Untried();
  auto launcher = Launcher::Start();
  if (!launcher) {
    Note(diagnosis, launcher.error());
    diagnosis.impossible = true;
    return diagnosis;
  }
  SandboxSpec spec;
  spec.id = "doctor";
  spec.require = LayerSet().With(Layer::kLandlock);
  for (int attempt = 0; attempt < kLayerCount; ++attempt) {
    const auto sandbox = LocalSandbox::Create(**launcher, spec, Deadline::Never());
    if (sandbox) {
      NoteEvidence(diagnosis, (*sandbox)->layers());
      return diagnosis;
    }
    Note(diagnosis, sandbox.error());
    const auto layer = LayerOf(sandbox.error());
    if (!layer || kIndispensable.Has(*layer)) break;
    spec.allow_missing = spec.allow_missing.With(*layer);
    spec.require = spec.require.Without(*layer);
  }
  diagnosis.impossible = true;
  return diagnosis;
}

}  // namespace cofferdam::sandbox
