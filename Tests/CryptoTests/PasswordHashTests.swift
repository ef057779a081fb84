import Core
import Crypto
import Testing

@Suite("PasswordHash")
struct PasswordHashTests {
  static let salt = "MDEyMzQ1Njc4OWFiY2RlZg"
  static let hash = "qrn7ZhlST3jO5Auifbc3xCWPabXREAX1HDl5f9rqSnA"

  private func bytes(_ text: String) -> [UInt8] { Array(text.utf8) }

  @Test(
    "A text that is no hash, or one of another kind, is refused and says why",
    arguments: [
      ("", "it is no hash"), ("secret", "it is no hash"), ("{SHA}abc", "guessed too fast"),
      ("$apr1$a$b", "guessed too fast"),
      ("$2b$12$abc", "no bcrypt"), ("$argon2id$v=19$m=1,t=1,p=1$a$b", "needs OpenSSL 3.2"),
      ("$6$a$b", "system accounts"),
      ("$scrypt$", "not of the form"), ("$scrypt$ln=10,r=8,p=1$\(salt)", "not of the form"),
      ("$pbkdf2$a$b$c", "not of the form"),
      ("$scrypt$ln=10,r=8,p=1$\(salt)$\(hash)$", "not of the form"),
      ("$scrypt$r=8,ln=10,p=1$\(salt)$\(hash)", "not ln, r and p"),
      ("$scrypt$ln=10,r=8$\(salt)$\(hash)", "not ln, r and p"),
      ("$scrypt$ln=10,r=8,p=1,x=1$\(salt)$\(hash)", "not ln, r and p"),
      ("$scrypt$ln=10,r=8,p=1,$\(salt)$\(hash)", "not ln, r and p"),
      ("$scrypt$ln=-1,r=8,p=1$\(salt)$\(hash)", "not ln, r and p"),
      ("$scrypt$ln=010,r=8,p=1$\(salt)$\(hash)", "not ln, r and p"),
      ("$scrypt$ln=9,r=8,p=1$\(salt)$\(hash)", "ln is 10 to 20"),
      ("$scrypt$ln=21,r=8,p=1$\(salt)$\(hash)", "ln is 10 to 20"),
      ("$scrypt$ln=10,r=33,p=1$\(salt)$\(hash)", "r 1 to 32"), ("$scrypt$ln=10,r=8,p=17$\(salt)$\(hash)", "p 1 to 16"),
      ("$scrypt$ln=17,r=8,p=1$\(salt)$\(hash)", "64 MiB"), ("$scrypt$ln=20,r=32,p=16$\(salt)$\(hash)", "64 MiB"),
      ("$scrypt$ln=16,r=8,p=3$\(salt)$\(hash)", "too long"), ("$scrypt$ln=10,r=8,p=1$c2FsdA$\(hash)", "salt"),
      ("$scrypt$ln=10,r=8,p=1$\(salt)==$\(hash)", "salt"), ("$scrypt$ln=10,r=8,p=1$\(salt)$\(hash)=", "hash"),
      ("$scrypt$ln=10,r=8,p=1$\(salt)$aGFzaA", "hash"), ("$scrypt$ln=10,r=8,p=1$\(salt)$-_\(hash)", "hash"),
    ])
  func refused(text: String, message: String) {
    do throws(PasswordHashFault) {
      _ = try PasswordHash(text)
      Issue.record("it is taken")
    } catch {
      #expect(error.message.contains(message), "\(error.message)")
    }
  }

  @Test(
    "A password has the hash that another program makes of it, and no other password has",
    arguments: [
      ("open sesame", "$scrypt$ln=10,r=8,p=1$\(salt)$\(hash)"),
      ("pässwörd", "$scrypt$ln=11,r=4,p=2$\(salt)$DsjTUU0VTKRfMNJxIpXJzXcMnyhFLhXJ0VOI7ByL3kk"),
    ])
  func matches(password: String, text: String) throws {
    let hash = try PasswordHash(text)
    #expect(hash.text == text && hash.isWeak)
    for wrong in ["", password + " ", String(password.dropLast()), password.uppercased()] {
      #expect(!hash.matches(bytes(wrong)))
    }
    #expect(hash.matches(bytes(password)))
  }

  @Test("A new hash has a salt of its own, and can be read again")
  func fresh() throws {
    let (one, two) = (PasswordHash(of: bytes("a"), cost: 14), PasswordHash(of: bytes("a"), cost: 14))
    #expect(one != two && one.text.hasPrefix("$scrypt$ln=14,r=8,p=1$"))
    #expect(try PasswordHash(one.text) == one && one.matches(bytes("a")) && !one.matches(bytes("b")))
  }

  @Test("Contents have the digests that RFC 9530 publishes")
  func contents() {
    for (content, sha256, sha512) in [
      (
        "{\"hello\": \"world\"}\n", "RK/0qy18MlBSVnWgjwz6lZEWjP/lF5HF9bvEF8FabDg=",
        "YMAam51Jz/jOATT6/zvHrLVgOYTGFy1d6GJiOHTohq4yP+pgk4vf2aCsyRZOtw8MjkM7iw7yZ/WkppmM44T3qg=="
      ),
      (
        "{\"hello\": \"world\"}", "X48E9qOokqqrvdts8nOJRJN3OWDUoyWxBf7kbu9DBPE=",
        "WZDPaVn/7XgHaAy8pmojAkGWoRx2UFChF41A2svX+TaPm+AbwAgBWnrIiYllu7BNNyealdVLvRwEmTHWXvJwew=="
      ),
    ] {
      let content = bytes(content)
      #expect(Base64.encode(ContentHash.sha256.digest(of: RawSpan(content))) == sha256)
      #expect(Base64.encode(ContentHash.sha512.digest(of: RawSpan(content))) == sha512)
    }
  }
}
