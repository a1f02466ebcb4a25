// Result<T>, Error and the closed list of error codes: how every call of this library says what
// went wrong.
#pragma once

#include "base/error.h"
