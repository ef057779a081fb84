import Core

@testable import Cluster
@testable import ModelRedis

/// The library of what nodes agree on, in the simulation's Redis, with a clock that the test sets.
final class AgreementRig {
  static let prefix = "sluice:t:{cluster}"
  private static let start: Int64 = 1_800_000_000_000_000

  let redis: ModelStore
  /// The store's clock, in microseconds.
  private(set) var wall = AgreementRig.start
  /// What scripts published, kind and data.
  private(set) var published: [String] = []

  init() {
    redis = ModelStore { 0 }
    redis.clock = { [unowned self] in wall }
    redis.publish = { [unowned self] channel, payload in
      precondition(String(decoding: channel, as: UTF8.self) == "sluice:t:cluster")
      published.append(String(decoding: payload, as: UTF8.self))
      return 1
    }
    let loaded = redis.run(["FUNCTION", "LOAD", AgreementLibrary.current.functionSource].map { Array($0.utf8) })
    precondition(loaded == .bytes(Array(AgreementLibrary.current.name.utf8)), "\(loaded)")
  }

  func pass(milliseconds: Int64) { wall += milliseconds * 1000 }

  func call(_ verb: String, _ arguments: String...) -> ModelReply {
    redis.run((["FCALL", AgreementLibrary.current.name, "1", Self.prefix, verb] + arguments).map { Array($0.utf8) })
  }

  func forget() { published = [] }

  /// One command on keys under the prefix: `{}` in `words` stands for it.
  @discardableResult
  func ask(_ words: String) -> ModelReply {
    redis.run(words.replacing("{}", with: Self.prefix).split(separator: " ").map { Array($0.utf8) })
  }
}

extension ModelReply {
  /// The texts of a list; empty for anything else.
  var texts: [String] {
    guard case .list(let items) = self else { return [] }
    return items.map(\.text)
  }

  /// A text, or how a refusal begins.
  var text: String {
    switch self {
    case .bytes(let bytes): String(decoding: bytes, as: UTF8.self)
    case .status(let text): text
    case .error(let text): "-" + text.prefix { $0 != " " }
    case .integer(let number): String(number)
    case .null, .nullList, .list: ""
    }
  }
}
