import Core
import Simulation
import Testing

@testable import Crypto

@Suite("OCSP")
struct OCSPTests {
  /// In 2027, within the time of all answers.
  private let now = WallTime(microseconds: 1_800_000_000_000_000)

  private func inquiry() throws -> OCSPInquiry {
    try OCSPInquiry(
      TLSCredential(
        certificate: TestCertificates.asked + [10] + TestCertificates.askedAuthority, key: TestCertificates.askedKey))
  }

  private func bytes(_ text: String) throws -> [UInt8] {
    try #require(Base64.decode(text.split(separator: "\n").joined()))
  }

  @Test("What the authority says of a good certificate is taken, as long as it holds")
  func good() throws {
    let inquiry = try inquiry()
    #expect(inquiry.responder == "http://ocsp.test:8080/answers")
    let answer = try bytes(TestCertificates.answerGood)
    guard case .good(let staple) = try inquiry.judge(answer, at: now) else {
      Issue.record("it is not good")
      return
    }
    let ends = try #require(staple.endsAt)
    #expect(staple.bytes == answer && staple.beginsAt < now && now < ends)
    for wrong in [staple.beginsAt.seconds - 301, ends.seconds] {
      #expect(throws: TLSFault.self) { try inquiry.judge(answer, at: WallTime(microseconds: wrong * 1_000_000)) }
    }
    #expect(throws: Never.self) {
      try inquiry.judge(answer, at: WallTime(microseconds: (staple.beginsAt.seconds - 299) * 1_000_000))
    }
  }

  @Test(
    "Any other answer is refused",
    arguments: [
      (TestCertificates.answerForged, "not the issuer's"),
      (TestCertificates.answerOther, "about another"), ("MAMKAQY=", "unauthorized"), ("MAMKAQ==", "no OCSP response"),
      ("", "no OCSP response"), ("PGh0bWw+", "no OCSP response"),
    ])
  func refused(answer: String, reason: String) throws {
    let inquiry = try inquiry()
    let fault = try #require(throws: TLSFault.self) { try inquiry.judge(bytes(answer), at: now) }
    #expect(fault.message.contains(reason))
  }

  @Test("An authority may say that a certificate is revoked")
  func revoked() throws {
    #expect(try inquiry().judge(bytes(TestCertificates.answerRevoked), at: now) == .bad("revoked"))
  }

  @Test("An answer of which a byte was changed is refused")
  func changed() throws {
    let inquiry = try inquiry()
    let answer = try bytes(TestCertificates.answerGood)
    for place in stride(from: 0, to: answer.count, by: 3) {
      var changed = answer
      changed[place] ^= 1
      #expect(throws: TLSFault.self) { try inquiry.judge(changed, at: now) }
    }
    for count in 0..<answer.count {
      #expect(throws: TLSFault.self) { try inquiry.judge(Array(answer[..<count]), at: now) }
    }
    #expect(throws: TLSFault.self) {
      try inquiry.judge([UInt8](repeating: 0x30, count: OCSPInquiry.longestAnswer + 1), at: now)
    }
  }

  @Test("Nobody is asked about a certificate without its issuer, or without a responder")
  func unaskable() throws {
    let alone = try TLSCredential(certificate: TestCertificates.asked, key: TestCertificates.askedKey)
    #expect(throws: TLSFault.self) { try OCSPInquiry(alone) }
    #expect(alone.mustStaple)
    let silent = try TLSCredential(
      certificate: TestCertificates.server + [10] + TestCertificates.authority, key: TestCertificates.serverKey)
    #expect(throws: TLSFault.self) { try OCSPInquiry(silent) }
    #expect(!silent.mustStaple && !silent.isSame(as: alone) && alone.isSame(as: alone.stapling([1])))
    #expect(alone.stapling([1]).staple == [1] && alone.staple.isEmpty)
  }
}
