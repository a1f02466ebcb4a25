// A patch on its way to a person's terminal. Pure functions, but for WantsColours.
#pragma once

#include <string>
#include <string_view>

namespace cofferdam::cli {

/// The patch without what a terminal could take for a command, whatever bytes it has; with colours
/// of our own if they are wanted.
std::string PatchForTerminal(std::string_view patch, bool colours);

/// Unless the environment has NO_COLOR, or TERM=dumb.
bool WantsColours();

}  // namespace cofferdam::cli
