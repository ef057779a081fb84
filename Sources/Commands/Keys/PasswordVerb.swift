import Crypto

extension Verb {
  /// `sluice password`.
  static let password = Verb(
    "password", "[OPTIONS]", summary: "make the hash of a password, for the policy basic",
    description: """
      Asks for a password on a terminal, or reads it from standard input, and prints its hash by scrypt. The hash is what
      a configuration keeps; the password cannot be had back from it.
      """,
    options: [
      Option(
        "--cost", value: "N",
        "what a check costs, as the logarithm to base 2: 14 to 16, 15 by default (32 MiB, 50 to 150 ms)")
    ],
    examples: ["sluice password", "pass show api/ann | sluice password --cost 16"]
  ) { arguments throws(UsageError) in
    guard arguments.operands.isEmpty else {
      throw UsageError("password takes no operands; what stands on a command line is no secret")
    }
    let range = PasswordHash.costs
    let cost = try arguments.integer("--cost", in: range) ?? PasswordHash.standardCost
    do throws(PasswordFault) {
      let password = try Terminal.canAsk ? ask() : read()
      Console.output(PasswordHash(of: password, cost: cost).text + "\n")
      return .done
    } catch {
      Console.error("sluice password: \(error.message)\n")
      return .failed
    }
  }

  private static func ask() throws(PasswordFault) -> [UInt8] {
    let password = try PasswordText.check(Terminal.ask("password: "))
    guard Terminal.ask("once more: ") == password else { throw PasswordFault("the two are not the same; try again") }
    return password
  }

  private static func read() throws(PasswordFault) -> [UInt8] {
    let bytes: [UInt8]
    do throws(Console.FileError) { bytes = try Console.read("-", limit: PasswordHash.longestPassword + 2) } catch {
      throw PasswordFault("standard input holds more than a password, or cannot be read")
    }
    return try PasswordText.check(PasswordText.line(bytes))
  }
}

/// Why something is no password: what, and what to do.
struct PasswordFault: Error, Equatable {
  let message: String

  init(_ message: String) { self.message = message }
}

/// What may be a password.
enum PasswordText {
  /// The text without the line end behind it.
  static func line(_ bytes: [UInt8]) -> [UInt8] {
    var bytes = bytes
    if bytes.last == 10 { bytes.removeLast() }
    if bytes.last == 13 { bytes.removeLast() }
    return bytes
  }

  /// The same bytes; throws for what could never be sent (RFC 7617 section 2).
  static func check(_ bytes: [UInt8]) throws(PasswordFault) -> [UInt8] {
    guard !bytes.isEmpty else { throw PasswordFault("there is no password; type one, or send one to standard input") }
    guard bytes.count <= PasswordHash.longestPassword else {
      throw PasswordFault("a password has at most \(PasswordHash.longestPassword) bytes")
    }
    guard let text = String(validating: bytes, as: UTF8.self) else {
      throw PasswordFault("a password is text in UTF-8; check what sends it")
    }
    guard text.unicodeScalars.allSatisfy({ $0.value >= 0x20 && !(0x7f...0x9f).contains($0.value) }) else {
      throw PasswordFault("a password is one line without control characters")
    }
    return bytes
  }
}
