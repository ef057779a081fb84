import Core
import Crypto

/// A program that Redis runs, and its names: one source, loaded as a Function where there are any, otherwise as a script.
public struct StoreLibrary: Sendable {
  /// The library's name, and that of its one function: six bytes, the last one its major version.
  public let name: String
  /// What `FUNCTION LOAD` takes.
  public let functionSource: String
  /// What `SCRIPT LOAD` takes.
  public let scriptSource: String
  /// The 40 digits that `EVALSHA` takes.
  let scriptDigest: [UInt8]

  /// A library that registers its function as `name`.
  init(name: String, source: String) {
    precondition(name.utf8.count == 6)
    self.name = name
    scriptSource = source
    functionSource = "#!lua name=\(name)\n" + source
    let digits = Array("0123456789abcdef".utf8)
    scriptDigest = SHA1.digest(of: RawSpan(Array(source.utf8))).flatMap {
      [digits[Int($0 >> 4)], digits[Int($0 & 15)]]
    }
  }

  /// What a connection loads where it is missing.
  var redis: RedisLibrary { RedisLibrary(name: name, source: functionSource, scripts: [scriptSource]) }
}
