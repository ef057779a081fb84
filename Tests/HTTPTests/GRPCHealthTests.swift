import Core
import HTTP
import Testing

@Suite("GRPCHealth")
struct GRPCHealthTests {
  @Test("The question names a service, or none for the server as a whole")
  func question() {
    #expect(GRPCHealth.question(service: "") == [0, 0, 0, 0, 0])
    #expect(GRPCHealth.question(service: "a.B") == [0, 0, 0, 0, 5, 0x0a, 3] + Array("a.B".utf8))
    let long = String(repeating: "x", count: GRPCHealth.serviceBytes)
    #expect(GRPCHealth.question(service: long).prefix(7) == [0, 0, 0, 0, 129, 0x0a, 127])
  }

  @Test(
    "Only a whole message that says SERVING is good",
    arguments: [
      ([0, 0, 0, 0, 2, 8, 1], true),
      // The last value counts; other fields of all kinds are passed over.
      ([0, 0, 0, 0, 4, 8, 2, 8, 1], true), ([0, 0, 0, 0, 4, 8, 1, 8, 2], false),
      ([0, 0, 0, 0, 5, 0x12, 1, 9, 8, 1], true), ([0, 0, 0, 0, 7, 0x15, 1, 2, 3, 4, 8, 1], true),
      ([0, 0, 0, 0, 11, 0x11, 1, 2, 3, 4, 5, 6, 7, 8, 8, 1], true), ([0, 0, 0, 0, 4, 0x18, 1, 8, 1], true),
      // UNKNOWN, left out or not; NOT_SERVING, SERVICE_UNKNOWN.
      ([0, 0, 0, 0, 0], false), ([0, 0, 0, 0, 2, 8, 0], false), ([0, 0, 0, 0, 2, 8, 2], false),
      ([0, 0, 0, 0, 2, 8, 3], false), ([0, 0, 0, 0, 3, 8, 0x81, 1], false),
      // No message, a part of one, more than one, a compressed one.
      ([], false), ([0, 0, 0, 0, 2, 8], false), ([0, 0, 0, 0, 2, 8, 1, 0], false), ([1, 0, 0, 0, 2, 8, 1], false),
      ([0, 0, 0, 0, 1, 8], false), ([0, 255, 255, 255, 255, 8, 1], false),
      // Malformed: field 0, an unknown kind, lengths beyond the end, a number without end.
      ([0, 0, 0, 0, 4, 8, 1, 0, 0], false), ([0, 0, 0, 0, 3, 8, 1, 0x13], false),
      ([0, 0, 0, 0, 4, 8, 1, 0x12, 1], false),
      ([0, 0, 0, 0, 3, 8, 1, 0x15], false), ([0, 0, 0, 0, 12, 8, 1] + [UInt8](repeating: 0xff, count: 10), false),
    ] as [([UInt8], Bool)])
  func answers(body: [UInt8], isServing: Bool) { #expect(GRPCHealth.isServing(RawSpan(body)) == isServing) }
}
