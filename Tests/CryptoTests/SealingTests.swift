import Core
import Crypto
import Testing

private func bytes(hexadecimal text: String) -> [UInt8] {
  let digits = Array(text.utf8)
  return stride(from: 0, to: digits.count, by: 2).map { start in
    digits[start...start + 1].reduce(0) { $0 << 4 | HexadecimalDigit.value($1)! }
  }
}

private func code(_ text: [UInt8], _ key: [UInt8]) -> [UInt8] { HMACSHA256.code(of: RawSpan(text), key: key) }

@Suite("Key derivation")
struct KeyDerivationTests {
  @Test("HKDF gives the published keys (RFC 5869, appendix A, cases 1 and 3)")
  func published() {
    // The purpose of case 1 is not text; case 3 has neither salt nor purpose.
    let key = KeyDerivation.key(from: [UInt8](repeating: 0x0b, count: 22), purpose: "", count: 42)
    #expect(
      key == bytes(hexadecimal: "8da4e775a563c18f715f802a063c5a31b8a11f5c5ee1879ec3454e5f3c738d2d9d201395faa4b61a96c8"))
  }

  @Test("Purpose, salt and secret each change the whole key")
  func independence() {
    let key = KeyDerivation.key(from: [1], salt: [2], purpose: "a")
    #expect(KeyDerivation.key(from: [1], salt: [2], purpose: "b") != key)
    #expect(KeyDerivation.key(from: [1], salt: [3], purpose: "a") != key)
    #expect(KeyDerivation.key(from: [2], salt: [2], purpose: "a") != key)
    #expect(KeyDerivation.key(from: [], salt: [2], purpose: "a").count == 32)
  }

  @Test("HMAC gives the published codes (RFC 4231, cases 1, 2 and 6)")
  func codes() {
    #expect(
      code(Array("Hi There".utf8), [UInt8](repeating: 0x0b, count: 20))
        == bytes(hexadecimal: "b0344c61d8db38535ca8afceaf0bf12b881dc200c9833da726e9376c2e32cff7"))
    #expect(
      code(Array("what do ya want for nothing?".utf8), Array("Jefe".utf8))
        == bytes(hexadecimal: "5bdcc146bf60754e6a042426089575c75a003f089d2739839dec58b964ec3843"))
    #expect(
      code(Array("Test Using Larger Than Block-Size Key - Hash Key First".utf8), [UInt8](repeating: 0xaa, count: 131))
        == bytes(hexadecimal: "60e431591ee0b67f0d8a26aacbf5b77f8e0bc6213728c5140546040f0ee37f54"))
  }
}

@Suite("Sealer")
struct SealerTests {
  private let sealer = Sealer(key: [UInt8](repeating: 7, count: 32))

  @Test("Nothing opens with any bit changed, cut off or added, under another key or context")
  func refusals() {
    let sealed = sealer.seal([1, 2, 3], context: [9])
    for index in sealed.indices {
      for bit in 0..<8 {
        var changed = sealed
        changed[index] ^= 1 << UInt8(bit)
        #expect(sealer.open(changed, context: [9]) == nil)
      }
      #expect(sealer.open(Array(sealed[..<index]), context: [9]) == nil)
    }
    #expect(sealer.open(sealed + [0], context: [9]) == nil)
    #expect(sealer.open(sealed, context: []) == nil)
    #expect(Sealer(key: [UInt8](repeating: 8, count: 32)).open(sealed, context: [9]) == nil)
  }

  @Test("What was sealed opens, and no two seals of one text are alike", arguments: [0, 1, 15, 16, 17, 100_000])
  func roundTrip(count: Int) {
    let text = [UInt8](repeating: 42, count: count)
    let sealed = sealer.seal(text, context: [1])
    #expect(sealed.count == count + Sealer.overhead)
    #expect(sealer.open(sealed, context: [1]) == text)
    #expect(sealer.seal(text, context: [1]) != sealed)
  }
}

@Suite("Signatures")
struct SignatureTests {
  @Test("Ed25519 gives the published keys and signatures (RFC 8032 section 7.1, tests 1 and 2)")
  func published() {
    let first = SigningKey(seed: bytes(hexadecimal: "9d61b19deffd5a60ba844af492ec2cc44449c5697b326919703bac031cae7f60"))
    #expect(
      first.sign([])
        == bytes(
          hexadecimal:
            "e5564300c360ac729086e2cc806e828a84877f1eb8e5d974d873e065224901555fb8821590a33bacc61e39701cf9b46bd"
            + "25bf5f0595bbe24655141438e7a100b"))
    let second = SigningKey(
      seed: bytes(hexadecimal: "4ccd089b28ff96da9db6c346ec114e0f5b8a319f35aba624da8cf6ed4fb8a6fb"))
    let signature = bytes(
      hexadecimal:
        "92a009a9f0d4cab8720e820b5f642540a2b27b5416503f8fb3762223ebdb69da085ac1e43e15996e458f3613d0f11d8c387b2e"
        + "aeb4302aeeb00d291612bb0c00")
    #expect(second.sign([0x72]) == signature)
    let key = VerifyingKey(bytes(hexadecimal: "3d4017c3e843895a92b70aa74d1b7ebc9c982ccf2ec4968cc0cd55f12af4660c"))
    #expect(key?.verifies([0x72], signature) == true)
  }

  @Test("No other message, key or signature is good")
  func refusals() {
    let key = SigningKey(seed: [UInt8](repeating: 1, count: 32))
    let signature = key.sign([1, 2])
    #expect(!key.verifying.verifies([1, 3], signature))
    #expect(!SigningKey(seed: [UInt8](repeating: 2, count: 32)).verifying.verifies([1, 2], signature))
    for index in signature.indices {
      var changed = signature
      changed[index] ^= 1
      #expect(!key.verifying.verifies([1, 2], changed))
    }
    #expect(!key.verifying.verifies([1, 2], Array(signature.dropLast())))
    #expect(VerifyingKey([1]) == nil)
  }
}

@Suite("Base64")
struct Base64Tests {
  @Test(
    "It writes and reads the published texts (RFC 4648 section 10)",
    arguments: [("", ""), ("f", "Zg=="), ("fo", "Zm8="), ("foo", "Zm9v"), ("foob", "Zm9vYg=="), ("foobar", "Zm9vYmFy")])
  func published(plain: String, text: String) {
    #expect(Base64.encode(Array(plain.utf8)) == text)
    #expect(Base64.decode(text) == Array(plain.utf8))
  }

  @Test(
    "What it would not write it does not read",
    arguments: ["Z", "Zg", "Zg=", "Zh==", "Zg==\n", " Zg=", "Zg==Zg==", "Zm9-", "====", "Z===", "Zm8\n"])
  func refusals(text: String) { #expect(Base64.decode(text) == nil) }
}
