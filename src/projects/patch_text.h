// The text of a patch, as git writes it. Pure; takes any bytes.
#pragma once

#include <functional>
#include <map>
#include <string>
#include <string_view>

#include "base/error.h"
#include "projects/changes.h"
#include "projects/diff.h"

namespace cofferdam::projects {

/// `prefix` and a path as git has them in a header: within quotes, with C escapes, when there is
/// anything in it but plain ASCII, or a
/// space before a slash, which git reads in no other way.
std::string QuotedPath(std::string_view prefix, std::string_view path);

/// What a patch says of a change whose content it does not show: a rename, a mode, or that
/// something differs. Empty when git has no words for it.
std::string SectionWithoutContent(const Change& change);

/// `git diff --no-index --src-prefix= --dst-prefix= a b` names the same side twice where a path is
/// on one side only; `git apply` and people expect a/ and b/. Quotes the names of a header where
/// git forgets it (a space before a slash).
std::string WithUsualPrefixes(std::string_view patch);

/// The output of `git diff --no-index --numstat -z a b`, by path. kMalformed.
Result<std::map<std::string, LineCount, std::less<>>> ParseNumstat(std::string_view output);

}  // namespace cofferdam::projects
