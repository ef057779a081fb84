// Passwords as they are kept: scrypt (RFC 7914), which costs memory as well as time, in the text form that other programs
// read and write too (the PHC string format): $scrypt$ln=15,r=8,p=1$<salt>$<hash>.
//
// OpenSSL 3.0 has neither Argon2 (that came with 3.2) nor bcrypt, and everything older than those is guessed at millions of
// tries a second.

import COpenSSL
import Core

/// Why a text is no hash of a password that can be used: a phrase for people, which repeats nothing of the text.
public struct PasswordHashFault: Error, Equatable, Sendable {
  /// What is wrong.
  public let message: String

  init(_ message: String) { self.message = message }
}

/// What becomes of a password that is handed over to be checked.
public enum PasswordIntake: Sendable {
  /// It will be checked.
  case taken
  /// Too many of the same address wait.
  case crowded
  /// Too many wait.
  case full
}

/// A password's hash. Immutable.
public struct PasswordHash: Equatable, Sendable {
  /// Bytes of memory that one check may take.
  public static let memoryLimit = 64 << 20
  /// Blocks that one check may mix, 2^ln · r · p: a quarter of a second or so.
  public static let workLimit = 1 << 19
  /// What is little work: ln=14 with r=8.
  public static let leastSensibleWork = 1 << 17
  /// Bytes of a password that are looked at.
  public static let longestPassword = 1_024
  /// What new hashes cost, as the logarithm to base 2: 32 MiB, 50 to 150 ms.
  public static let standardCost = 15
  /// The costs that may be chosen for new hashes.
  public static let costs = 14...16

  private let cost: Int
  private let blockSize: Int
  private let parallelism: Int
  private let salt: [UInt8]
  private let hash: [UInt8]

  /// Reads a hash; throws for any other text, and for one that costs more than a node gives for it.
  public init(_ text: String) throws(PasswordHashFault) {
    try Self.refuseOthers(text)
    let parts = text.split(separator: "$", omittingEmptySubsequences: false).map(String.init)
    guard parts.count == 5, parts[0].isEmpty, parts[1] == "scrypt" else {
      throw PasswordHashFault("it is not of the form $scrypt$ln=15,r=8,p=1$salt$hash")
    }
    let parameters = parts[2].split(separator: ",", omittingEmptySubsequences: false).map(String.init)
    let numbers = zip(["ln", "r", "p"], parameters).compactMap { Self.number($1, named: $0) }
    guard parameters.count == 3, numbers.count == 3 else {
      throw PasswordHashFault("its parameters are not ln, r and p")
    }
    (cost, blockSize, parallelism) = (numbers[0], numbers[1], numbers[2])
    guard (10...20).contains(cost), (1...32).contains(blockSize), (1...16).contains(parallelism) else {
      throw PasswordHashFault("ln is 10 to 20, r 1 to 32 and p 1 to 16")
    }
    guard 128 * blockSize << cost <= Self.memoryLimit else {
      throw PasswordHashFault("it takes more than 64 MiB of memory to check, 128 * 2^ln * r bytes")
    }
    guard blockSize * parallelism << cost <= Self.workLimit else {
      throw PasswordHashFault("it takes too long to check: 2^ln * r * p is more than \(Self.workLimit)")
    }
    guard let salt = Self.decode(parts[3]), (8...64).contains(salt.count) else {
      throw PasswordHashFault("its salt is not 8 to 64 bytes in Base64 without padding")
    }
    guard let hash = Self.decode(parts[4]), (16...64).contains(hash.count) else {
      throw PasswordHashFault("its hash is not 16 to 64 bytes in Base64 without padding")
    }
    (self.salt, self.hash) = (salt, hash)
  }

  /// The hash of a new password, with a salt of its own; `cost` is one of ``costs``. It takes as long as a check.
  public init(of password: [UInt8], cost: Int = PasswordHash.standardCost) {
    precondition(Self.costs.contains(cost), "a hash costs what a node gives for it")
    (self.cost, blockSize, parallelism) = (cost, 8, 1)
    salt = SecureRandom.bytes(16)
    let derived = Self.derive(password, salt, cost: cost, blockSize: 8, parallelism: 1, count: 32)
    guard let derived else { preconditionFailure("out of memory") }
    hash = derived
  }

  /// Names what is not taken, so that nobody has to find out why.
  private static func refuseOthers(_ text: String) throws(PasswordHashFault) {
    let advice = "; `sluice password` makes a hash by scrypt"
    if text.hasPrefix("$argon2") {
      throw PasswordHashFault("Argon2 needs OpenSSL 3.2, and the gateway is made for 3.0\(advice)")
    }
    for start in ["$2a$", "$2b$", "$2y$"] where text.hasPrefix(start) {
      throw PasswordHashFault("OpenSSL has no bcrypt\(advice)")
    }
    for start in ["{SHA}", "{SSHA}", "$apr1$", "$1$"] where text.hasPrefix(start) {
      throw PasswordHashFault("SHA-1 and MD5 are guessed too fast\(advice)")
    }
    for start in ["$5$", "$6$", "$y$", "$7$"] where text.hasPrefix(start) {
      throw PasswordHashFault("the hashes of system accounts are not read\(advice)")
    }
    if !text.hasPrefix("$") { throw PasswordHashFault("it is no hash; a password itself is never kept\(advice)") }
  }

  private static func number(_ text: String, named name: String) -> Int? {
    guard text.hasPrefix(name + "=") else { return nil }
    let digits = text.dropFirst(name.count + 1)
    guard (1...2).contains(digits.count), digits.allSatisfy({ $0.isASCII && $0.isNumber }), digits.first != "0" else {
      return nil
    }
    return Int(digits)
  }

  private static func decode(_ text: String) -> [UInt8]? {
    guard text.utf8.count % 4 != 1, !text.contains("=") else { return nil }
    return Base64.decode(text + String(repeating: "=", count: (4 - text.utf8.count % 4) % 4))
  }

  /// Whether it is cheap to guess at; it may be used all the same.
  public var isWeak: Bool { blockSize * parallelism << cost < Self.leastSensibleWork }

  /// The text that ``init(_:)`` reads.
  public var text: String {
    func encode(_ bytes: [UInt8]) -> String { String(Base64.encode(bytes).prefix { $0 != "=" }) }
    return "$scrypt$ln=\(cost),r=\(blockSize),p=\(parallelism)$\(encode(salt))$\(encode(hash))"
  }

  /// Whether `password` has this hash; false too where there is no memory to find out. Takes up to a quarter of a second and
  /// ``memoryLimit`` bytes: never on a loop.
  public func matches(_ password: [UInt8]) -> Bool {
    let derived = Self.derive(
      password, salt, cost: cost, blockSize: blockSize, parallelism: parallelism, count: hash.count)
    guard let derived else { return false }
    return ConstantTime.equal(RawSpan(derived), RawSpan(hash))
  }

  private static func derive(
    _ password: [UInt8], _ salt: [UInt8], cost: Int, blockSize: Int, parallelism: Int, count: Int
  ) -> [UInt8]? {
    var key = [UInt8](repeating: 0, count: count)
    let isDone = unsafe password.withUnsafeBytes { bytes in
      // Each array outlives the call; `key` has `count` bytes. Beside the memory that was checked OpenSSL counts a few
      // blocks more.
      unsafe EVP_PBE_scrypt(
        bytes.baseAddress?.assumingMemoryBound(to: CChar.self), bytes.count, salt, salt.count, 1 << UInt64(cost),
        UInt64(blockSize), UInt64(parallelism), UInt64(memoryLimit + 1 << 20), &key, count) == 1
    }
    if !isDone { ERR_clear_error() }
    // All numbers were checked; what is left is that there is no memory.
    return isDone ? key : nil
  }
}
