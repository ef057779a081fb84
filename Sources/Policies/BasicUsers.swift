import Crypto
import Pipeline

/// The users that may come with a name and a password.
struct BasicUsers: Sendable {
  /// Users of one policy.
  static let most = 10_000
  /// Bytes of a name.
  static let longestName = 256

  struct User: Sendable {
    let name: String
    let hash: PasswordHash
    let consumer: String?
    let groups: [String]
  }

  private let users: [User]
  private let places: [String: Int]

  init(_ options: inout OptionReader) {
    var users = options.objects("users", "Who may come, in place.") { Self.read(&$0) }
    let file = options.optionalSecretText(
      "file", "Who may come, one on a line: name:hash, as htpasswd has it. Empty lines and those with # are skipped.")
    if let file { users += Self.read(file, &options) }
    var places: [String: Int] = [:]
    for (index, user) in users.enumerated() where places.updateValue(index, forKey: user.name) != nil {
      options.fail("a user is there twice", at: options.has("file") ? "file" : "users", fix: "remove one of both")
    }
    (self.users, self.places) = (users, places)
    if options.isDescribing { return }
    if users.isEmpty, !options.hasFailed("users"), !options.hasFailed("file") {
      options.fail("nobody may come", at: "users", fix: "name at least one user, here or in a file")
    }
    if users.count > Self.most {
      options.fail("there are more than \(Self.most) users", at: "users", fix: "keep them with a provider of tokens")
    }
    if users.contains(where: \.hash.isWeak) {
      options.warn(
        "a password's hash is cheap to guess at", at: options.has("file") ? "file" : "users",
        fix: "make it anew with `sluice password`")
    }
  }

  private static func read(_ options: inout OptionReader) -> User? {
    let name = options.string("name", "What the user is called.")
    let text = options.secret("password", "The hash of the password, as `sluice password` prints it.")
    let consumer = options.optionalString(
      "consumer", "The consumer of the configuration that the user is: its limits, groups and tenant hold.")
    let groups = options.stringList("groups", "Groups that the user is in.")
    if options.isDescribing || options.hasFailed("password") { return nil }
    if !isName(name) {
      options.fail("nobody can be called that", at: "name", fix: "use up to 256 bytes of text without \":\"")
    }
    do throws(PasswordHashFault) {
      return User(name: name, hash: try PasswordHash(text), consumer: consumer, groups: groups)
    } catch {
      options.fail("this hash cannot be used: \(error.message)", at: "password", fix: "run `sluice password`")
      return nil
    }
  }

  private static func read(_ file: String, _ options: inout OptionReader) -> [User] {
    var users: [User] = []
    for (index, line) in file.split(omittingEmptySubsequences: false, whereSeparator: \.isNewline).enumerated() {
      if line.isEmpty || line.hasPrefix("#") { continue }
      let parts = line.split(separator: ":", maxSplits: 1, omittingEmptySubsequences: false).map(String.init)
      guard parts.count == 2, isName(parts[0]), users.count <= most else {
        options.fail("line \(index + 1) is not of the form name:hash", at: "file", fix: "write one user on each line")
        return users
      }
      do throws(PasswordHashFault) {
        users.append(User(name: parts[0], hash: try PasswordHash(parts[1]), consumer: nil, groups: []))
      } catch {
        options.fail(
          "the hash on line \(index + 1) cannot be used: \(error.message)", at: "file", fix: "run `sluice password`")
      }
    }
    return users
  }

  /// Whether it can stand before a colon (RFC 7617 section 2).
  static func isName(_ text: String) -> Bool {
    (1...longestName).contains(text.utf8.count)
      && text.unicodeScalars.allSatisfy { $0.value >= 0x20 && $0.value != 0x7f && $0 != ":" }
  }

  /// The user of this name; nil where there is none.
  func user(_ name: String) -> User? { places[name].map { users[$0] } }

  /// What a password is checked against whose user does not exist, so that this takes as long as for one who does: always the
  /// same one for a name, by a `number` that nobody outside can foresee.
  func decoy(_ number: UInt64) -> PasswordHash { users[Int(number % UInt64(max(1, users.count)))].hash }
}
