import Crypto

/// Keys by which clients prove that tokens are theirs, by their thumbprints: to prepare one costs more than to use it. Nobody
/// comes in here who has not shown a good token first.
public final class ProofKeys {
  /// The most keys, some KiB each.
  static let capacity = 4_096

  private var keys: [String: JSONWebKey] = [:]

  init() {}

  /// The key with this thumbprint; nil where it is not there.
  public func find(_ thumbprint: String) -> JSONWebKey? { keys[thumbprint] }

  /// Remembers a key by its thumbprint; where there are too many, all others are forgotten.
  public func remember(_ key: JSONWebKey, _ thumbprint: String) {
    if keys.count >= Self.capacity { keys = [:] }
    keys[thumbprint] = key
  }
}
