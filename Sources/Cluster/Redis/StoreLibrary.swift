import Core
import Crypto

/// A program that Redis runs, and its names: one source, loaded as a Function where there are any, otherwise as a script.
public struct StoreLibrary: Sendable {
  /// The library's name, and that of its one function.
  public let name: String
  /// What `FUNCTION LOAD` takes.
  public let functionSource: String
  /// What `SCRIPT LOAD` takes.
  public let scriptSource: String
  /// The 40 digits that `EVALSHA` takes.
  let scriptDigest: [UInt8]

  /// A library that registers its function as `name`.
  init(name: String, source: String) {
    self.name = name
    scriptSource = source
    functionSource = "#!lua name=\(name)\n" + source
    scriptDigest = Self.digest(of: source)
  }

  /// The 40 digits of SHA-1 by which Redis knows a text.
  static func digest(of source: String) -> [UInt8] {
    let digits = Array("0123456789abcdef".utf8)
    return SHA1.digest(of: RawSpan(Array(source.utf8))).flatMap { [digits[Int($0 >> 4)], digits[Int($0 & 15)]] }
  }

  /// The words that call a verb of the library with keys that begin with `prefix`; its arguments follow.
  func call(_ verb: String, prefix: String, as dialect: RedisDialect?) -> [[UInt8]] {
    let entry = dialect == .scripts ? [Array("EVALSHA".utf8), scriptDigest] : [Array("FCALL".utf8), Array(name.utf8)]
    return entry + ["1", prefix, verb].map { Array($0.utf8) }
  }

  /// What a connection loads where it is missing.
  var redis: RedisLibrary { RedisLibrary(name: name, source: functionSource, scripts: [scriptSource]) }
}
