import Crypto
import Testing

@testable import Commands

@Suite("sluice password")
struct PasswordVerbTests {
  @Test(
    "What could never be sent as a password is refused",
    arguments: [
      ([], "no password"), ([UInt8](repeating: 97, count: 1_025), "at most 1024"), ([0xff, 97], "UTF-8"),
      ([97, 10, 98], "control characters"), ([97, 0], "control characters"), ([3], "control characters"),
      (Array("\u{85}".utf8), "control characters"),
    ])
  func refused(bytes: [UInt8], message: String) {
    do throws(PasswordFault) {
      _ = try PasswordText.check(bytes)
      Issue.record("it is taken")
    } catch {
      #expect(error.message.contains(message), "\(error.message)")
    }
  }

  @Test("A password may be any other text; one line end behind it is none of it")
  func taken() throws {
    for (bytes, line) in [("ann's: pässwörd", "ann's: pässwörd"), ("a\n", "a"), ("a\r\n", "a"), (" a ", " a ")] {
      #expect(try PasswordText.check(PasswordText.line(Array(bytes.utf8))) == Array(line.utf8))
    }
  }

  @Test("A password on the command line is refused, and a cost that no node gives")
  func usage() {
    for words in [["secret"], ["--cost", "17"], ["--cost", "1"]] {
      #expect(throws: UsageError.self) {
        let arguments = try Arguments(words, options: Verb.password.options)
        _ = try Verb.password.run(arguments)
      }
    }
  }
}
