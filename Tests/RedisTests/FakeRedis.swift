import Core
import Simulation

@testable import Cluster

/// A server in the simulated world that answers as a test wants. Without instructions it is a primary of version 7.0
/// that counts `INCR` and knows `FCALL` of loaded libraries.
final class FakeRedis {
  let address: SocketAddress
  private(set) var server: ScriptedServer?
  /// Every command received whole, in order.
  private(set) var commands: [[String]] = []
  /// Answers instead of the server itself; nil to leave it to that.
  var answer: ((_ command: [String]) -> String?)?
  /// Sends what is answered; by default as it is.
  var deliver: ((Peer, String) -> Void) = { $0.send($1) }
  var version = "7.0.15"
  var role = "master"
  var replicationID = String(repeating: "a", count: 40)
  var isLoading = false
  var libraries: Set<String> = []
  var counters: [String: Int] = [:]
  private let world: SimulatedWorld

  init(_ world: SimulatedWorld, port: UInt16 = 6379) {
    self.world = world
    address = .ip(IPAddress(v4: 0x0a00_0001), port: port)
    start()
  }

  var redis: RedisServer { RedisServer(address: .socket(address)) }

  func start() {
    server = world.serve(address) { [unowned self] peer in
      while let command = takeCommand(peer) {
        commands.append(command)
        let text = answer?(command) ?? usual(command)
        if !text.isEmpty, !peer.isOver { deliver(peer, text) }
      }
      if peer.hasEnded { peer.close() }
    }
  }

  /// Ends as a killed process does.
  func die() {
    server?.close()
    for peer in server?.openPeers ?? [] { peer.reset() }
    server = nil
  }

  /// How often `name` was called.
  func count(_ name: String) -> Int { commands.count { $0[0] == name } }

  func usual(_ command: [String]) -> String {
    switch command[0] {
    case "AUTH", "SELECT", "CLIENT": return "+OK\r\n"
    case "PING": return "+PONG\r\n"
    case "ROLE": return role == "master" ? "*3\r\n$6\r\nmaster\r\n:7\r\n*0\r\n" : "*1\r\n$5\r\nslave\r\n"
    case "INFO": return Self.bulk(info(command.count > 1 ? command[1] : ""))
    case "INCR":
      counters[command[1], default: 0] += 1
      return ":\(counters[command[1], default: 0])\r\n"
    case "FUNCTION":
      let name = command[2].split(separator: "=")[1].prefix { $0 != "\n" }
      if !libraries.insert(String(name)).inserted { return "-ERR Library '\(name)' already exists\r\n" }
      return Self.bulk(String(name))
    case "SCRIPT":
      libraries.insert("script")
      return Self.bulk("sha")
    case "FCALL": return libraries.isEmpty ? "-ERR Function not found\r\n" : usual(["INCR", "calls"])
    case "EVALSHA": return libraries.isEmpty ? "-NOSCRIPT No matching script.\r\n" : usual(["INCR", "calls"])
    default: return "-ERR unknown command '\(command[0])', with args beginning with: \r\n"
    }
  }

  private func info(_ section: String) -> String {
    switch section {
    case "server": "# Server\r\nredis_version:\(version)\r\nredis_mode:standalone\r\n"
    case "replication": "# Replication\r\nrole:\(role)\r\nmaster_replid:\(replicationID)\r\n"
    default: "# Persistence\r\nloading:\(isLoading ? 1 : 0)\r\n"
    }
  }

  static func bulk(_ text: String) -> String { "$\(text.utf8.count)\r\n\(text)\r\n" }

  private func takeCommand(_ peer: Peer) -> [String]? {
    let bytes = peer.received
    var index = 0
    func line() -> Int? {
      guard let end = bytes[index...].firstIndex(of: 13), end + 1 < bytes.count else { return nil }
      let number = Int(String(decoding: bytes[(index + 1)..<end], as: UTF8.self))
      index = end + 2
      return number
    }
    guard !bytes.isEmpty, let count = line() else { return nil }
    var words: [String] = []
    for _ in 0..<count {
      guard index < bytes.count, let length = line(), index + length + 2 <= bytes.count else { return nil }
      words.append(String(decoding: bytes[index..<(index + length)], as: UTF8.self))
      index += length + 2
    }
    peer.take(first: index)
    return words
  }
}
