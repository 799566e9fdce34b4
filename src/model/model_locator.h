#pragma once
// Where a model is: a path, a GGUF file, or a hub id found in the local Hugging Face cache
// (huggingface_hub's layout: models--ORG--NAME/refs, snapshots; tools/pull writes it). Of a
// repository of GGUF files the id means the only file there; ORG/NAME/FILE.gguf names one of
// several. Nothing is downloaded.
// Stateless; reads the environment and the file system.

#include <string>
#include <vector>

#include "base/status.h"

namespace sparrow {

enum class ModelOrigin { kGiven, kHubCache, kBundled, kStarter };

struct ModelLocation {
  std::string path;  // directory or *.gguf file that exists
  ModelOrigin origin = ModelOrigin::kGiven;
  // What the model answers to, the first is what it calls itself: as asked for, last part of the
  // path, hub id.
  std::vector<std::string> names;
};

// `wanted` is what the user wrote (path or hub id). The error says where was searched.
Result<ModelLocation> locate_model(const std::string& wanted);

// Nothing asked for: a cached R1 distill, else the bundled model, else the starter model that the
// build makes beside the binary.
Result<ModelLocation> locate_default_model();

// Directories of the hub cache, in order of search: HF_HUB_CACHE, HUGGINGFACE_HUB_CACHE,
// HF_HOME/hub, $XDG_CACHE_HOME/huggingface/hub, ~/.cache/huggingface/hub.
std::vector<std::string> hub_cache_directories();

}  // namespace sparrow
