import Core

/// Bounds and time limits of a connection to Redis. All durations are nanoseconds.
public struct RedisLimits: Equatable, Sendable {
  /// Commands under way on one connection; beyond, they are refused.
  public var commands = 1024
  /// Bytes of all commands under way on one connection: they are kept until they are answered.
  public var bytes = 1 << 20
  /// From the beginning of a connection attempt to its success.
  public var connect: Int64 = 1_000_000_000
  /// From then until the server has said who it is and has the library. Long: a frozen server answers as soon as it
  /// goes on, and a new attempt would only make it later.
  public var greeting: Int64 = 3_000_000_000
  /// The longest a server may say nothing although commands wait; then the connection is given up.
  public var silence: Int64 = 3_000_000_000
  /// After so long without any command the server is asked for a sign of life.
  public var idle: Int64 = 5_000_000_000
  /// The first pause between two attempts is drawn from 0 to this; each further one from twice as much.
  public var shortestPause: Int64 = 20_000_000
  /// No pause is longer. Half a second, since a server that is back must be used within that.
  public var longestPause: Int64 = 500_000_000
  /// How long a name may be looked up.
  public var lookUp: Int64 = 10_000_000_000

  /// The limits that suit a server in the same network.
  public init() {}

  /// The pause before attempt `attempt`, counted from 0: exponential, fully jittered, never nothing.
  func pause(attempt: Int, random: UInt64) -> Int64 {
    let most = min(longestPause, shortestPause << Int64(min(max(attempt, 0), 20)))
    return Int64(random % UInt64(max(most, 1))) + 1_000_000
  }
}

/// Scripts that a server must know before it is of use: a library of functions, and the same as single scripts for
/// servers that have no functions or whose users may not load them.
public struct RedisLibrary: Equatable, Sendable {
  /// The library's name, with its version.
  public let name: String
  /// What `FUNCTION LOAD` takes: it begins with a line like `#!lua name=…`.
  public let source: String
  /// What `SCRIPT LOAD` takes, each on its own.
  public let scripts: [String]

  /// A library.
  public init(name: String, source: String, scripts: [String]) {
    self.name = name
    self.source = source
    self.scripts = scripts
  }
}

/// How the library's code is called on a server.
public enum RedisDialect: Sendable, BitwiseCopyable {
  /// `FCALL`, since the server has the library.
  case functions
  /// `EVALSHA`, since the server is older than 7 or its user may not load libraries.
  case scripts
}

/// What a connection is for.
public struct RedisLinkSettings: Equatable, Sendable {
  /// The name that `CLIENT LIST` shows, without spaces: `sluice-<node>-<loop>`.
  public var clientName: String
  /// Whether only a primary will do: a replica is refused, and left when it turns out to be one.
  public var needsPrimary = true
  /// Loaded wherever it is missing; nil for none.
  public var functionLibrary: RedisLibrary?
  /// Channels to listen to. A connection that does takes no commands: what is published there comes as
  /// ``RedisEvent/message(_:)``. A node of a cluster passes on what is published on any; every link hears it once.
  public var channels: [String] = []
  /// Bounds and time limits.
  public var limits = RedisLimits()

  /// A connection to a primary that shows as `clientName`.
  public init(clientName: String, library: RedisLibrary? = nil) {
    self.clientName = clientName
    self.functionLibrary = library
  }
}
