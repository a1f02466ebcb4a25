#include "projects/testing/trees.h"

#include <fcntl.h>
#include <sys/sysmacros.h>
#include <sys/wait.h>
#include <unistd.h>

#include <algorithm>
#include <filesystem>
#include <fstream>
#include <sstream>

#include "base/check.h"
#include "projects/beneath.h"
#include "sys/file.h"

namespace cofferdam::projects {
namespace {

namespace fs = std::filesystem;

struct stat LookAt(const std::string& path) {
  struct stat info;
  CHECK(::lstat(path.c_str(), &info) == 0);
  return info;
}

std::string Bytes(const std::string& path) {
  std::ifstream file(path, std::ios::binary);
  std::ostringstream bytes;
  bytes << file.rdbuf();
  return bytes.str();
}

void WriteBytes(const std::string& path, const std::string& bytes) {
  std::ofstream file(path, std::ios::binary | std::ios::trunc);
  CHECK(file.write(bytes.data(), static_cast<std::streamsize>(bytes.size())).flush());
}

/// Puts what one path of a snapshot has below a root.
void PutItem(const std::string& root, const std::string& path, const Item& item) {
  const std::string target = root + "/" + path;
  if (S_ISLNK(item.mode)) {
    CHECK(::symlink(item.content.c_str(), target.c_str()) == 0);
    return;
  }
  if (S_ISDIR(item.mode)) {
    CHECK(::mkdir(target.c_str(), 0700) == 0 || errno == EEXIST);
  } else {
    WriteBytes(target, item.content);
  }
  CHECK(::chmod(target.c_str(), item.mode & 07777) == 0);
}

std::vector<std::string> PathsBelow(const std::string& root) {
  std::vector<std::string> paths;
  for (const auto& [path, item] : SnapshotOf(root)) paths.push_back(path);
  return paths;
}

}  // namespace

Snapshot SnapshotOf(const std::string& root) {
  Snapshot snapshot;
  for (const auto& entry : fs::recursive_directory_iterator(root)) {
    const std::string path = entry.path().string();
    const struct stat info = LookAt(path);
    Item item{.mode = info.st_mode, .content = {}};
    if (S_ISREG(info.st_mode)) item.content = Bytes(path);
    if (S_ISLNK(info.st_mode)) item.content = fs::read_symlink(entry.path()).string();
    snapshot[path.substr(root.size() + 1)] = std::move(item);
  }
  return snapshot;
}

std::string Difference(const Snapshot& wanted, const Snapshot& got) {
  std::string text;
  for (const auto& [path, item] : wanted) {
    const auto there = got.find(path);
    if (there == got.end()) {
      text += "missing: " + path + "\n";
    } else if (there->second.mode != item.mode) {
      text += "another mode: " + path + "\n";
    } else if (there->second.content != item.content) {
      text += "another content: " + path + "\n";
    }
  }
  for (const auto& [path, item] : got)
    if (!wanted.contains(path)) text += "too much: " + path + "\n";
  return text;
}

void CopyTree(const std::string& from, const std::string& to) {
  for (const auto& [path, item] : SnapshotOf(from)) PutItem(to, path, item);
}

void EmptyTree(const std::string& root) {
  const auto directory = sys::Open(root, O_RDONLY | O_DIRECTORY);
  CHECK(directory);
  const auto names = sys::ListDirectory(directory->get());
  CHECK(names);
  for (const std::string& name : *names) CHECK(sys::RemoveTree(directory->get(), name));
}

void MakeUpper(const std::string& before, const std::string& after, const std::string& upper) {
  const Snapshot old = SnapshotOf(before);
  const Snapshot wanted = SnapshotOf(after);
  for (const auto& [path, item] : wanted) {
    const auto below = old.find(path);
    // Directories always: something in them may differ.
    if (S_ISDIR(item.mode) || below == old.end() || below->second != item)
      PutItem(upper, path, item);
  }
  for (const auto& [path, item] : old) {
    // What lies in what is gone, or in what has become something else, is gone with it.
    const std::string parent = ParentOf(path);
    const auto above = wanted.find(parent);
    if (wanted.contains(path)) continue;
    if (!parent.empty() && (above == wanted.end() || !S_ISDIR(above->second.mode))) continue;
    CHECK(::mknod((upper + "/" + path).c_str(), S_IFCHR, makedev(0, 0)) == 0);
  }
}

std::string RandomTree::Name() {
  static const std::vector<std::string> odd = {" ", "\"", "\n", "\xff\xfe", "\\", "\t", "é", "-"};
  std::string name(1, static_cast<char>('a' + Below(8)));
  if (Below(4) == 0) name += odd[static_cast<std::size_t>(Below(static_cast<int>(odd.size())))];
  if (Below(3) == 0) name += static_cast<char>('a' + Below(8));
  return name;
}

std::string RandomTree::Content() {
  std::string text;
  if (Below(6) == 0) return text;
  const bool binary = Below(4) == 0;
  for (int line = Below(20); line >= 0; --line) {
    text += std::to_string(Below(5));
    if (binary) text += std::string("\0\xff", 2);
    text += "\n";
  }
  if (Below(4) == 0) text.pop_back();
  return text;
}

std::string RandomTree::SomePlace(const std::string& root) {
  std::vector<std::string> directories = {root};
  for (const std::string& path : PathsBelow(root))
    if (S_ISDIR(LookAt(root + "/" + path).st_mode)) directories.push_back(root + "/" + path);
  return directories[static_cast<std::size_t>(Below(static_cast<int>(directories.size())))] + "/" +
         Name();
}

void RandomTree::Make(const std::string& path) {
  switch (Below(6)) {
    case 0:
      // No loops: `git apply` cannot tell that there is nothing behind one.
      CHECK(::symlink(Below(2) == 0 ? "/etc/passwd" : ("nowhere/" + Name()).c_str(),
                      path.c_str()) == 0);
      return;
    case 1:
    case 2:
      CHECK(::mkdir(path.c_str(), 0700) == 0);
      CHECK(::chmod(path.c_str(), Below(3) == 0 ? 0750 : 0755) == 0);
      return;
    default:
      WriteBytes(path, Content());
      CHECK(::chmod(path.c_str(), Below(3) == 0 ? 0755 : 0644) == 0);
  }
}

void RandomTree::Fill(const std::string& root, int count) {
  for (int i = 0; i < count; ++i) {
    const std::string path = SomePlace(root);
    if (!fs::exists(fs::symlink_status(path))) Make(path);
  }
}

void RandomTree::ChangeOne(const std::string& root) {
  const std::vector<std::string> paths = PathsBelow(root);
  if (paths.empty()) return;
  const std::string path =
      root + "/" + paths[static_cast<std::size_t>(Below(static_cast<int>(paths.size())))];
  const struct stat info = LookAt(path);
  switch (Below(5)) {
    case 0:
      fs::remove_all(path);
      return;
    case 1:
      if (S_ISREG(info.st_mode)) WriteBytes(path, Content());
      return;
    case 2:
      if (!S_ISLNK(info.st_mode)) CHECK(::chmod(path.c_str(), Below(2) == 0 ? 0755 : 0700) == 0);
      return;
    case 3: {
      const std::string to = SomePlace(root);
      if (!to.starts_with(path + "/") && !fs::exists(fs::symlink_status(to)))
        CHECK(::rename(path.c_str(), to.c_str()) == 0);
      return;
    }
    default:
      fs::remove_all(path);
      Make(path);
  }
}

void RandomTree::Change(const std::string& root, int count) {
  for (int i = 0; i < count; ++i) {
    if (Below(3) == 0) {
      Fill(root, 1);
    } else {
      ChangeOne(root);
    }
  }
}

int RunIn(const std::string& directory, const std::vector<std::string>& argv) {
  std::vector<char*> arguments;
  for (const std::string& argument : argv) arguments.push_back(const_cast<char*>(argument.c_str()));
  arguments.push_back(nullptr);
  const pid_t pid = ::fork();
  CHECK(pid >= 0);
  if (pid == 0) {
    if (::chdir(directory.c_str()) == 0) ::execvp(arguments[0], arguments.data());
    ::_exit(127);
  }
  int status = 0;
  CHECK(::waitpid(pid, &status, 0) == pid);
  return WIFEXITED(status) ? WEXITSTATUS(status) : 128 + WTERMSIG(status);
}

}  // namespace cofferdam::projects
