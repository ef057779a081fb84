import Core
import Crypto
import Testing

private func bytes(_ text: String) -> [UInt8] { Array(text.utf8) }

// Expectations cannot hold spans, so these make them where they are used.
private func areEqual(_ left: [UInt8], _ right: [UInt8]) -> Bool { ConstantTime.equal(RawSpan(left), RawSpan(right)) }
extension SHA256 { fileprivate func digest(_ bytes: [UInt8]) -> Digest { digest(of: RawSpan(bytes)) } }
extension SipKey { fileprivate func hash(_ bytes: [UInt8]) -> (low: UInt64, high: UInt64) { hash(RawSpan(bytes)) } }

@Suite("SHA-256")
struct SHA256Tests {
  @Test("What is not 64 hexadecimal digits is no digest", arguments: ["", "9f86", String(repeating: "g", count: 64)])
  func wrongDigests(text: String) {
    #expect(Digest(hexadecimal: text) == nil)
    #expect(Digest(hexadecimal: text + "0") == nil)
  }

  @Test(
    "One hasher gives the published digests one after the other (FIPS 180-4)",
    arguments: [
      ("", 1, "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855"),
      ("abc", 1, "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad"),
      (
        "abcdbcdecdefdefgefghfghighijhijkijkljklmklmnlmnomnopnopq", 1,
        "248d6a61d20638b8e5c026930c3e6039a33ce45964ff2167f6ecedd419db06c1"
      ),
      ("a", 1_000_000, "cdc76e5c9914fb9281a1c7e284d73e67f1809a48a497200e046d39ccc7112cd0"),
    ])
  func published(text: String, count: Int, digest: String) {
    let hasher = SHA256()
    let input = bytes(String(repeating: text, count: count))
    for _ in 0..<3 { #expect(hasher.digest(input).hexadecimal == digest) }
    #expect(hasher.digest(input) == Digest(hexadecimal: digest.uppercased()))
  }

  @Test("Digests that differ in one bit of any word are different")
  func comparison() {
    let digest = Digest(words: (1, 2, 3, 4))
    #expect(digest != Digest(words: (0, 2, 3, 4)))
    #expect(digest != Digest(words: (1, 0, 3, 4)))
    #expect(digest != Digest(words: (1, 2, 2, 4)))
    #expect(digest != Digest(words: (1, 2, 3, 4 | 1 << 63)))
    #expect(digest == Digest(words: (1, 2, 3, 4)))
  }
}

@Suite("Secrets")
struct SecretTests {
  @Test("Secrets of other bytes or another length are not equal, the same ones are")
  func constantTime() {
    let secret = bytes("correct horse")
    for other in ["", "correct hors", "correct horsf", "dorrect horse", "correct horse "] {
      #expect(!areEqual(secret, bytes(other)))
    }
    #expect(areEqual(secret, bytes("correct horse")))
    #expect(areEqual([], []))
  }

  @Test("Random bytes are as many as asked for, and others each time")
  func random() {
    #expect(SecureRandom.bytes(0).isEmpty)
    #expect(SecureRandom.bytes(33).count == 33)
    #expect(SecureRandom.bytes(16) != SecureRandom.bytes(16))
  }
}

@Suite("SipHash")
struct SipHashTests {
  /// The reference key, bytes 0 to 15.
  let key = SipKey(low: 0x0706_0504_0302_0100, high: 0x0f0e_0d0c_0b0a_0908)

  @Test(
    "The 128-bit hashes are those of the reference implementation",
    arguments: [
      (0, 0xe6a8_25ba_047f_81a3 as UInt64, 0x9302_55c7_1472_f66d as UInt64),
      (1, 0x44af_996b_d8c1_87da, 0x45fc_229b_1159_7634),
      (15, 0x11a8_b033_99e9_9354, 0xd9c3_cf97_0fec_087e),
    ])
  func reference(count: Int, low: UInt64, high: UInt64) {
    let input = (0..<count).map { UInt8($0) }
    let hash = key.hash(input)
    #expect(hash.low == low)
    #expect(hash.high == high)
  }

  @Test("Two words hash as their sixteen bytes")
  func words() {
    let input = (0..<16).map { UInt8($0) }
    #expect(key.hash(input) == key.hash(0x0706_0504_0302_0100, 0x0f0e_0d0c_0b0a_0908))
  }
}
