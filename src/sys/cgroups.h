// Ending what is in control groups, frozen or not. A process that the freezer of version 1 holds
// takes no signal, not even SIGKILL, until it is thawed. The groups are the directories in an open
// directory of any hierarchy; files that a hierarchy does not have are passed over.
#pragma once

namespace cofferdam::sys {

/// Thaws every group in `directory`.
void ThawGroups(int directory);

/// Sends SIGKILL to all that is in the groups in `directory` and thaws them, in this order: what is
/// thawed first would run. Does not wait.
void KillGroups(int directory);

}  // namespace cofferdam::sys
