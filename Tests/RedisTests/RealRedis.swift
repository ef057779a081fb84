import Core
import Foundation
import Net

@testable import Cluster

/// A real server of a test: its own process, folder and ports; gone when this is.
final class RealRedis {
  let folder: URL
  private(set) var port: UInt16
  private var process: Process?
  private let options: [String]

  /// Starts `redis-server` on a unix socket, and on a TCP port where `usesPort`; `options` are as on its command line.
  init(usesPort: Bool = false, _ options: String = "") throws {
    folder = FileManager.default.temporaryDirectory.appending(path: "sluice-redis-\(UUID().uuidString.prefix(8))")
    try FileManager.default.createDirectory(at: folder, withIntermediateDirectories: true)
    port = usesPort ? try Self.freePort() : 0
    self.options = options.split(separator: " ").map(String.init)
    try start()
  }

  /// Starts a sentinel that watches the primary at `port` as `m`.
  init(watching primary: UInt16, failoverTimeout milliseconds: Int = 2000) throws {
    folder = FileManager.default.temporaryDirectory.appending(path: "sluice-redis-\(UUID().uuidString.prefix(8))")
    try FileManager.default.createDirectory(at: folder, withIntermediateDirectories: true)
    port = try Self.freePort()
    let file = folder.appending(path: "sentinel.conf")
    try """
    port \(port)
    bind 127.0.0.1
    dir \(folder.path)
    sentinel monitor m 127.0.0.1 \(primary) 2
    sentinel down-after-milliseconds m 500
    sentinel failover-timeout m \(milliseconds)
    """.write(to: file, atomically: true, encoding: .utf8)
    options = []
    try launch([file.path, "--sentinel"])
  }

  deinit {
    kill()
    try? FileManager.default.removeItem(at: folder)
  }

  var path: String { folder.appending(path: "s").path }
  var socket: SocketAddress { .unix(path: path) }
  var tcp: SocketAddress { .ip(IPAddress(v4: 0x7f00_0001), port: port) }

  /// Says at which port of its own choice it listens.
  func use(port: UInt16) { self.port = port }

  func start() throws {
    try launch(
      [
        "--port", "\(port)", "--bind", "127.0.0.1", "--unixsocket", path, "--dir", folder.path, "--save", "",
        "--appendonly", "no", "--logfile", folder.appending(path: "log").path,
      ] + options)
  }

  private func launch(_ arguments: [String]) throws {
    let process = Process()
    process.executableURL = URL(filePath: "/usr/bin/env")
    process.arguments = ["redis-server"] + arguments
    process.standardOutput = FileHandle.nullDevice
    process.standardError = FileHandle.nullDevice
    try process.run()
    self.process = process
  }

  func kill() {
    guard let process, process.isRunning else { return }
    // A stopped process cannot be killed in good order.
    _ = Glibc.kill(process.processIdentifier, SIGKILL)
    process.waitUntilExit()
  }

  func freeze() { _ = Glibc.kill(process?.processIdentifier ?? 0, SIGSTOP) }
  func thaw() { _ = Glibc.kill(process?.processIdentifier ?? 0, SIGCONT) }

  /// A port that nobody had a moment ago.
  static func freePort() throws -> UInt16 {
    let loop = try EventLoop()
    let listener = try loop.listen(
      .ip(IPAddress(v4: 0x7f00_0001), port: 0), ListenOptions(sharesPort: false), token: 1)
    defer { loop.close(listener, reset: false) }
    return loop.localAddress(of: listener)?.port ?? 0
  }
}

/// A link on a real loop, which runs on the calling thread while somebody waits for something.
final class RealLink {
  let loop: EventLoop
  var owner: LinkOwner

  init(_ server: RedisServer, _ settings: RedisLinkSettings = RedisLinkSettings(clientName: "test")) throws {
    loop = try EventLoop()
    owner = LinkOwner(loop, server, settings)
    owner.link.start()
  }

  deinit { owner.link.stop() }

  /// Runs until `condition` holds; false where it does not within `seconds`.
  @discardableResult
  func run(within seconds: Int64 = 10, until condition: @escaping (LinkOwner) -> Bool) throws -> Bool {
    var holds = false
    owner.isDone = { owner in
      holds = condition(owner)
      return holds
    }
    owner.limit = Clock.monotonic().advanced(byNanoseconds: seconds * 1_000_000_000)
    owner.goOn()
    try loop.run(&owner)
    return holds
  }

  /// Runs for a while.
  func run(milliseconds: Int64) throws {
    owner.isDone = nil
    owner.limit = Clock.monotonic().advanced(byNanoseconds: milliseconds * 1_000_000)
    owner.goOn()
    try loop.run(&owner)
  }
}
