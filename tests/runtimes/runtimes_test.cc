// Runtimes at work inside a sandbox: threads, child processes, cryptography, code made at run time.
// Each program ends by saying "all well", so that one that stops half way is seen.
#include <sys/stat.h>
#include <unistd.h>

#include <fstream>
#include <memory>
#include <string>
#include <vector>

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "programs.h"
#include "sandbox/local_sandbox.h"
#include "sys/testing/temp_dir.h"

namespace cofferdam::sandbox {
namespace {

using testing::HasSubstr;

class Runtimes : public testing::TestWithParam<SeccompProfile> {
 protected:
  static void SetUpTestSuite() {
    auto launcher = Launcher::Start();
    ASSERT_TRUE(launcher) << launcher.error().ToString();
    launcher_ = launcher->release();
  }
  static void TearDownTestSuite() { delete std::exchange(launcher_, nullptr); }

  void SetUp() override {
    ASSERT_NE(launcher_, nullptr);
    for (const char* name : {"work", "home"}) {
      const std::string path = files_ / name;
      ASSERT_EQ(::mkdir(path.c_str(), 0700), 0);
      ASSERT_EQ(::chown(path.c_str(), ToolIdentity().uid, ToolIdentity().gid), 0);
    }
    if (!launcher_->cgroups()) spec_.allow_missing = LayerSet().With(Layer::kCgroup);
    spec_.id = "runtimes-" + std::to_string(++count_);
    spec_.mounts = {{files_ / "work", "/workspace", true}, {files_ / "home", "/home/agent", true}};
    spec_.limits.memory_bytes = 2ull << 30;
    spec_.limits.processes = 400;
    spec_.seccomp_profile = GetParam();
  }

  void WriteFile(const std::string& name, const std::string& text) const {
    std::ofstream(files_ / ("work/" + name)) << text;
    ASSERT_EQ(::chmod((files_ / ("work/" + name)).c_str(), 0644), 0);
  }

  // Runs `arguments` under `program`, which must end well and say `wanted`.
  void ExpectToSay(const std::string& wanted, const Program& program,
                   std::vector<std::string> arguments) {
    if (program.mount) spec_.mounts.push_back(*program.mount);
    auto sandbox = LocalSandbox::Create(*launcher_, spec_, Deadline::Never());
    ASSERT_TRUE(sandbox) << sandbox.error().ToString();
    arguments.insert(arguments.begin(), program.path);
    std::string out;
    std::string err;
    const auto sink = [&](OutputStream stream, std::string_view bytes) {
      (stream == OutputStream::kStdout ? out : err) += bytes;
    };
    const auto result =
        (*sandbox)->Exec({.argv = arguments, .timeout = std::chrono::minutes(3)}, sink, {});
    ASSERT_TRUE(result) << result.error().ToString();
    EXPECT_EQ(result->exit_code, 0) << out << err;
    EXPECT_THAT(out, HasSubstr(wanted)) << err;
  }

  static inline Launcher* launcher_ = nullptr;
  static inline int count_ = 0;
  sys::TempDir files_;
  SandboxSpec spec_;
};

TEST_P(Runtimes, Node) {
  const auto node = FindInUsr("node");
  if (!node) GTEST_SKIP() << "there is no node in /usr";
  WriteFile("main.js", R"program(
const { Worker } = require('node:worker_threads');
const { spawnSync } = require('node:child_process');
const { createHash, scrypt, randomBytes, generateKeyPairSync } = require('node:crypto');
const assert = require('node:assert');
const fs = require('node:fs');
const net = require('node:net');
const once = (emitter, name) => new Promise(done => emitter.once(name, done));
(async () => {
  const workers = [1, 2, 3].map(i => new Worker(
      "const {parentPort} = require('node:worker_threads'); parentPort.postMessage(6 * 7)",
      { eval: true }));
  const answers = await Promise.all(workers.map(worker => once(worker, 'message')));
  assert.deepEqual(answers, [42, 42, 42]);
  assert.equal(createHash('sha256').update('abc').digest('hex').slice(0, 8), 'ba7816bf');
  const key = await new Promise((yes, no) => {
    scrypt('a', randomBytes(8), 32, (error, derived) => error ? no(error) : yes(derived));
  });
  assert.equal(key.length, 32);
  generateKeyPairSync('ed25519');
  assert.equal(spawnSync('/bin/sh', ['-c', 'echo child']).stdout.toString(), 'child\n');
  await fs.promises.writeFile('note.txt', 'text');
  assert.equal(await fs.promises.readFile('note.txt', 'utf8'), 'text');
  const server = net.createServer(socket => socket.end('served')).listen(0, '127.0.0.1');
  await once(server, 'listening');
  const client = net.connect(server.address().port, '127.0.0.1');
  assert.equal(String(await once(client, 'data')), 'served');
  server.close();
  const wasm = new Uint8Array([0, 97, 115, 109, 1, 0, 0, 0]);
  await WebAssembly.instantiate(wasm);
  console.log('all well');
})();
)program");
  ExpectToSay("all well", *node, {"main.js"});
}

TEST_P(Runtimes, Python) {
  const auto python = FindInUsr("python3");
  if (!python) GTEST_SKIP() << "there is no python3 in /usr";
  const bool harness = GetParam() == SeccompProfile::kHarness;
  WriteFile("main.py", std::string("OTHER_THREADS = ") + (harness ? "True" : "False") + R"(
import asyncio, ctypes, multiprocessing, os, sqlite3, ssl, subprocess, tempfile, threading

def square(x):
    return x * x

def place_another_thread():
    started, done = threading.Event(), threading.Event()
    ids = []
    def wait():
        ids.append(threading.get_native_id())
        started.set()
        done.wait()
    thread = threading.Thread(target=wait)
    thread.start()
    started.wait()
    try:
        os.sched_setaffinity(ids[0], os.sched_getaffinity(0))
        os.setpriority(os.PRIO_PROCESS, ids[0], 5)
        return True
    except PermissionError:
        return False
    finally:
        done.set()
        thread.join()

async def talk():
    async def serve(reader, writer):
        writer.write(await reader.readline())
        await writer.drain()
        writer.close()
    server = await asyncio.start_server(serve, '127.0.0.1', 0)
    reader, writer = await asyncio.open_connection(*server.sockets[0].getsockname())
    writer.write(b'hello\n')
    assert await reader.readline() == b'hello\n'
    writer.close()
    child = await asyncio.create_subprocess_exec('echo', 'x', stdout=subprocess.PIPE)
    assert (await child.communicate())[0] == b'x\n'

if __name__ == '__main__':
    with multiprocessing.Pool(3) as pool:
        assert pool.map(square, range(4)) == [0, 1, 4, 9]
    threads = [threading.Thread(target=square, args=(i,)) for i in range(8)]
    [t.start() for t in threads]
    [t.join() for t in threads]
    assert subprocess.run(['sh', '-c', 'exit 3']).returncode == 3
    asyncio.run(talk())
    ssl.create_default_context()
    database = sqlite3.connect(os.path.join(tempfile.mkdtemp(), 'x.db'))
    database.execute('pragma journal_mode=wal')
    database.execute('create table t (a)')
    callback = ctypes.CFUNCTYPE(ctypes.c_int, ctypes.c_int)(square)
    assert callback(7) == 49
    assert place_another_thread() == OTHER_THREADS
    print('all well')
)");
  ExpectToSay("all well", *python, {"main.py"});
}

TEST_P(Runtimes, Java) {
  const auto java = FindJava();
  if (!java) GTEST_SKIP() << "there is no JDK in /usr/lib/jvm with its configuration beside it";
  WriteFile("Main.java", R"(
import java.net.*;
import java.nio.file.*;
import java.util.concurrent.*;
public class Main {
  public static void main(String[] arguments) throws Exception {
    var pool = Executors.newFixedThreadPool(8);
    var sum = pool.submit(() -> {
      long s = 0;
      for (int i = 0; i < 50_000_000; ++i) s += i;
      return s;
    });
    if (sum.get() != 1249999975000000L) throw new Error("sum");
    pool.shutdown();
    var thread = new Thread(() -> {});
    thread.setPriority(Thread.MAX_PRIORITY);
    thread.start();
    thread.join();
    var child = new ProcessBuilder("sh", "-c", "echo child").start();
    var said = new String(child.getInputStream().readAllBytes());
    if (!said.equals("child\n")) throw new Error(said);
    Files.writeString(Path.of("note.txt"), "text");
    java.security.MessageDigest.getInstance("SHA-256").digest(new byte[10]);
    try (var server = new ServerSocket(0, 1, InetAddress.getLoopbackAddress());
         var client = new Socket(server.getInetAddress(), server.getLocalPort())) {
      client.getOutputStream().write(1);
    }
    for (var all = NetworkInterface.getNetworkInterfaces(); all.hasMoreElements();)
      all.nextElement().getMTU();
    System.gc();
    System.out.println("all well");
  }
}
)");
  ExpectToSay("all well", *java, {"-XX:ThreadPriorityPolicy=0", "-Xmx256m", "Main.java"});
}

TEST_P(Runtimes, Go) {
  auto go = FindInUsr("go");
  if (!go) GTEST_SKIP() << "there is no go in /usr";
  spec_.environment = {{"GOCACHE", "/workspace/cache"},
                       {"GOTMPDIR", "/workspace"},
                       {"GOFLAGS", "-mod=mod"},
                       {"CGO_ENABLED", "0"}};
  WriteFile("main.go", R"(package main

import (
	"fmt"
	"net"
	"os/exec"
	"runtime"
	"sync"
)

func main() {
	var group sync.WaitGroup
	for i := 0; i < 100; i++ {
		group.Add(1)
		go func() { defer group.Done(); runtime.LockOSThread(); runtime.Gosched() }()
	}
	group.Wait()
	out, err := exec.Command("sh", "-c", "echo child").Output()
	if err != nil || string(out) != "child\n" {
		panic(err)
	}
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		panic(err)
	}
	listener.Close()
	if _, err := net.Interfaces(); err != nil {
		panic(err)
	}
	fmt.Println("all well")
}
)");
  ExpectToSay("all well", *go, {"run", "main.go"});
}

TEST_P(Runtimes, Rust) {
  const auto rustc = FindOfRust("rustc");
  if (!rustc) GTEST_SKIP() << "there is no rustc in /usr or of rustup";
  WriteFile("main.rs", R"(
use std::{fs, net, process::Command, thread};
fn main() {
    let threads: Vec<_> = (0..8u64).map(|i| thread::spawn(move || i * i)).collect();
    let sum: u64 = threads.into_iter().map(|t| t.join().unwrap()).sum();
    assert_eq!(sum, 140);
    let child = Command::new("sh").args(["-c", "echo child"]).output().unwrap();
    assert_eq!(child.stdout, b"child\n");
    fs::write("note.txt", "text").unwrap();
    net::TcpListener::bind("127.0.0.1:0").unwrap();
    println!("all well");
}
)");
  if (rustc->mount) spec_.mounts.push_back(*rustc->mount);
  ExpectToSay("all well", {"/bin/sh"}, {"-c", rustc->path + " main.rs && ./main"});
}

TEST_P(Runtimes, HeadlessChromiumWithoutItsOwnSandbox) {
  const auto chromium = FindInUsr("chromium");
  if (!chromium) GTEST_SKIP() << "there is no chromium in /usr";
  ExpectToSay("all well", *chromium,
              {"--headless", "--no-sandbox", "--disable-gpu", "--user-data-dir=/tmp/profile",
               "--virtual-time-budget=2000", "--dump-dom",
               "data:text/html,<script>document.write(['all','well'].join(' '))</script>"});
}

INSTANTIATE_TEST_SUITE_P(Profiles, Runtimes,
                         testing::Values(SeccompProfile::kTools, SeccompProfile::kHarness),
                         [](const auto& test) {
                           return std::string(SeccompProfileName(test.param));
                         });

}  // namespace
}  // namespace cofferdam::sandbox
