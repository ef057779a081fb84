import Core

/// A node of a Redis Cluster as another one names it.
public struct RedisNode: Hashable, Sendable {
  /// A name or an address; empty for the host of whoever says it.
  public let host: String
  /// Its port.
  public let port: UInt16

  /// The node at `host` and `port`.
  public init(host: String, port: UInt16) {
    self.host = host
    self.port = port
  }

  /// Reads `host:port` as in a redirection, where an IPv6 address has no brackets; nil for anything else.
  public init?(_ text: some StringProtocol) {
    guard let colon = text.lastIndex(of: ":"), let port = UInt16(text[text.index(after: colon)...]), port > 0 else {
      return nil
    }
    self.init(host: String(text[..<colon]), port: port)
    guard host.isEmpty || address(by: host) != nil else { return nil }
  }

  /// Where to connect; `speaker` is the host of whoever said it. Nil where that is no host.
  public func address(by speaker: String) -> AddressText? {
    let name = host.isEmpty || host == "?" ? speaker : host
    return AddressText(name.contains(":") && !name.hasPrefix("[") ? "[\(name)]:\(port)" : "\(name):\(port)")
  }
}

/// A refusal by a server: what its first word, or for some the text, says.
public enum RedisError: Equatable, Sendable {
  /// The script is not known there (NOSCRIPT).
  case noScript
  /// The function is not known there.
  case noFunction
  /// The server, or the user, has no such command.
  case unknownCommand
  /// The server is a replica (READONLY).
  case readOnly
  /// The server still reads its data (LOADING).
  case loading
  /// The server is a replica without its primary (MASTERDOWN).
  case primaryDown
  /// Credentials are needed (NOAUTH).
  case unauthenticated
  /// The credentials are wrong (WRONGPASS, or older servers' words).
  case wrongCredentials
  /// The user may not do that (NOPERM).
  case notPermitted
  /// The slot is served by another node (MOVED).
  case moved(slot: Int, RedisNode)
  /// This once, another node has it (ASK).
  case ask(slot: Int, RedisNode)
  /// The keys of the command are on two nodes at present (TRYAGAIN).
  case tryAgain
  /// The keys of the command are in different slots (CROSSSLOT).
  case crossSlot
  /// The cluster does not serve the slot, or nothing at all (CLUSTERDOWN).
  case clusterDown
  /// A script has been running for too long (BUSY).
  case busy
  /// Too few replicas are connected (NOREPLICAS).
  case noReplicas
  /// Memory is used up (OOM).
  case outOfMemory
  /// Writes are off because saving fails (MISCONF).
  case misconfigured
  /// What is wanted exists already (BUSYGROUP, or a library of that name).
  case alreadyExists
  /// Anything else.
  case other

  /// More of a refusal's text than this is not looked at.
  private static let longest = 512

  /// What the text of a refusal, without its leading minus, means. Never fails.
  public init(_ bytes: RawSpan) {
    let text = unsafe bytes.extracting(first: Self.longest).withUnsafeBytes {
      unsafe String(decoding: $0, as: UTF8.self)
    }
    let word = text.prefix { $0 != " " }
    switch word {
    case "NOSCRIPT": self = .noScript
    case "READONLY": self = .readOnly
    case "LOADING": self = .loading
    case "MASTERDOWN": self = .primaryDown
    case "NOAUTH": self = .unauthenticated
    case "WRONGPASS": self = .wrongCredentials
    case "NOPERM": self = .notPermitted
    case "TRYAGAIN": self = .tryAgain
    case "CROSSSLOT": self = .crossSlot
    case "CLUSTERDOWN": self = .clusterDown
    case "BUSY": self = .busy
    case "NOREPLICAS": self = .noReplicas
    case "OOM": self = .outOfMemory
    case "MISCONF": self = .misconfigured
    case "BUSYGROUP": self = .alreadyExists
    case "MOVED", "ASK":
      guard let (slot, node) = Self.redirection(text) else {
        self = .other
        return
      }
      self = word == "MOVED" ? .moved(slot: slot, node) : .ask(slot: slot, node)
    case "ERR": self = Self.general(text.dropFirst(4))
    default: self = .other
    }
  }

  private static func redirection(_ text: String) -> (Int, RedisNode)? {
    let words = text.split(separator: " ", omittingEmptySubsequences: false)
    guard words.count == 3, let slot = Int(words[1]), HashSlot.all.contains(slot), let node = RedisNode(words[2]) else {
      return nil
    }
    return (slot, node)
  }

  private static func general(_ text: Substring) -> RedisError {
    if text.hasPrefix("Function not found") { return .noFunction }
    if text.hasPrefix("unknown command") { return .unknownCommand }
    if text.hasPrefix("Library '"), text.hasSuffix("already exists") { return .alreadyExists }
    if text.hasPrefix("invalid password") { return .wrongCredentials }
    // Before 7.0 what a script was refused stands inside the script's own failure.
    if text.hasPrefix("Error running script"), let inner = text.firstRange(of: ": -") {
      switch text[inner.upperBound...].prefix(while: { $0 != " " }) {
      case "READONLY": return .readOnly
      case "NOREPLICAS": return .noReplicas
      case "MISCONF": return .misconfigured
      case "OOM": return .outOfMemory
      default: break
      }
    }
    return .other
  }

  /// Whether the command that was answered so has certainly not run, not even in part. Redis checks all of these before
  /// a command, and inside a script before its first write.
  public var hasSurelyNotRun: Bool {
    switch self {
    case .noScript, .noFunction, .unknownCommand, .readOnly, .loading, .primaryDown, .unauthenticated,
      .wrongCredentials, .moved, .ask, .tryAgain, .crossSlot, .clusterDown, .busy, .noReplicas, .outOfMemory,
      .misconfigured:
      true
    // A script may write and then call what its user must not.
    case .notPermitted, .alreadyExists, .other: false
    }
  }
}
