import Core
import Crypto
import Testing

private func bytes(_ text: String) -> [UInt8] { Array(text.utf8) }

private func set(_ keys: String...) throws -> JSONWebKeySet {
  try JSONWebKeySet(bytes("{\"keys\":[\(keys.joined(separator: ","))]}"))
}

/// What a set says of a token with this name.
private func judge(_ set: JSONWebKeySet, _ text: [UInt8]) throws -> String {
  let token = try CompactToken(RawSpan(text))
  switch set.verify(token) {
  case .verified(let key): return "verified by \(key.keyID ?? "-")"
  case .unknownKey: return "unknown"
  case .unfit: return "unfit"
  case .wrong: return "wrong"
  }
}

/// A signer with P-256.
private func signer(_ name: String?) throws -> TokenSigner {
  let key = try TokenSigner.fresh(.es256)
  return try TokenSigner(pem: #require(key.privateText), keyID: name)
}

extension TokenSigner {
  fileprivate func token() throws -> [UInt8] { try sign(RawSpan(bytes("{}"))) }

  fileprivate func published() throws -> String { try #require(publicText) }
}

@Suite("JSONWebKeySet")
struct JSONWebKeySetTests {
  @Test(
    "What is no set is refused",
    arguments: [
      "", "[]", "{}", "{\"keys\":{}}", "{\"keys\":1}", "{\"keys\":[]}", "{\"keys\":[1]}", "{\"keys\":[{}]",
      "{'keys':[]}",
      "{\"keys\":[],\"keys\":[]}",
      "{\"keys\":[{\"kty\":\"oct\",\"k\":\"AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA\"}]}",
    ])
  func noSet(text: String) {
    #expect(throws: JSONWebKeyFault.self) { try JSONWebKeySet(bytes(text)) }
  }

  @Test("A member that is there twice, a comment, or a comma too many is refused in a set that would do without")
  func strict() throws {
    let key = try signer("a").published()
    _ = try set(key)
    for text in [
      "{\"keys\":[\(key.dropLast()),\"kid\":\"b\"}]}", "{\"keys\":[\(key)],\"keys\":[]}", "{\"keys\":[\(key),]}",
      "{\"keys\":[\(key)]} // end", "\u{feff}{\"keys\":[\(key)]}", "{keys:[\(key)]}",
    ] { #expect(throws: JSONWebKeyFault.self) { try JSONWebKeySet(bytes(text)) } }
  }

  @Test("A set of more than 100 keys or 256 KiB is refused, one of exactly so much is read")
  func bounds() throws {
    let key = try signer("a").published()
    func text(_ count: Int) -> [UInt8] {
      bytes("{\"keys\":[\(Array(repeating: key, count: count).joined(separator: ","))]}")
    }
    #expect(throws: JSONWebKeyFault.self) { try JSONWebKeySet(text(101)) }
    #expect(try JSONWebKeySet(text(100)).keys.count == 100)
    let one = text(1)
    let full = one + [UInt8](repeating: 0x20, count: JSONWebKeySet.longestText - one.count)
    #expect(throws: JSONWebKeyFault.self) { try JSONWebKeySet(full + [0x20]) }
    #expect(try JSONWebKeySet(full).keys.count == 1)
  }

  @Test("Keys that are not understood are left out and named, the others are there")
  func skipped() throws {
    let secret = "{\"kty\":\"oct\",\"k\":\"AAAA\",\"kid\":\"shared\"}"
    let encrypting = try signer("b").published().replacing("\"use\":\"sig\"", with: "\"use\":\"enc\"")
    let found = try set(secret, signer("a").published(), "{\"kty\":\"new\"}", encrypting, "7")
    #expect(found.keys.map(\.keyID) == ["a"])
    #expect(
      found.skipped == [
        "key 1 (\"shared\"): a secret is not taken from a published key", "key 3: keys of this type are not known",
        "key 4 (\"b\"): the key is not used for signatures", "key 5: a key is an object",
      ])
  }

  @Test("A token that names no key of the set is told apart from one that is wrong, and from one of another algorithm")
  func unknown() throws {
    let first = try signer("a")
    let found = try set(first.published())
    #expect(try judge(found, signer("b").token()) == "unknown")
    #expect(try judge(found, signer("").token()) == "unknown")
    #expect(try judge(found, signer("A").token()) == "unknown")
    #expect(try judge(found, signer("a").token()) == "wrong")
    #expect(try judge(found, TokenSigner.fresh(.es384, keyID: "a").token()) == "unfit")
    #expect(try judge(found, TokenSigner(secret: [UInt8](repeating: 1, count: 32), keyID: "a").token()) == "unfit")
    #expect(try judge(found, first.token()) == "verified by a")
  }

  @Test("A key without a name verifies whatever a token calls its key")
  func named() throws {
    let key = try signer("a")
    let nameless = try TokenSigner(pem: #require(key.privateText))
    #expect(try judge(set(nameless.published()), signer("a").token()) == "wrong")
    #expect(try judge(set(nameless.published()), key.token()) == "verified by -")
    #expect(try judge(set(nameless.published()), nameless.token()) == "verified by -")
  }

  @Test("Of keys with one name the one that has signed verifies")
  func sameName() throws {
    let first = try signer("a")
    let second = try signer("a")
    let third = try TokenSigner.fresh(.es384, keyID: "a")
    let found = try set(third.published(), first.published(), second.published())
    for signer in [first, second, third] { #expect(try judge(found, signer.token()) == "verified by a") }
  }

  @Test("A token without a name is tried with the first four keys of its algorithm, no more")
  func nameless() throws {
    let signers = try (0..<6).map { try signer("\($0)") }
    let texts = try [TokenSigner.fresh(.es384, keyID: "other").published()] + signers.map { try $0.published() }
    let found = try JSONWebKeySet(bytes("{\"keys\":[\(texts.joined(separator: ","))]}"))
    let results = try signers.map { signer in
      try judge(found, TokenSigner(pem: #require(signer.privateText)).token())
    }
    #expect(results == ["verified by 0", "verified by 1", "verified by 2", "verified by 3", "wrong", "wrong"])
  }
}
