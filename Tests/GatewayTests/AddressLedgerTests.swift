import Core
import Testing

@testable import Gateway

@Suite("AddressLedger")
struct AddressLedgerTests {
  private let ledger = AddressLedger()
  private let rate = AddressLedger.Rate(count: 3, span: 60_000_000_000)
  private let address = IPAddress(v4: 0xc000_0201)

  private func at(_ seconds: Int64) -> Instant { Instant(nanoseconds: seconds * 1_000_000_000) }

  @Test("So many times at once are within the bound, and one more for each part of the span that passes")
  func bound() {
    for _ in 0..<3 { #expect(ledger.admits(address, rate, now: at(100))) }
    #expect(!ledger.admits(address, rate, now: at(100)) && !ledger.isWithin(address, rate, now: at(100)))
    #expect(!ledger.isWithin(address, rate, now: at(100)), "asking costs nothing, and changes nothing")
    #expect(!ledger.admits(address, rate, now: at(119)))
    #expect(ledger.admits(address, rate, now: at(120)) && !ledger.admits(address, rate, now: at(121)))
    for _ in 0..<3 { #expect(ledger.admits(address, rate, now: at(200))) }
  }

  @Test("What is counted beyond the bound keeps an address out for no longer than one more time")
  func charges() {
    for _ in 0..<100 { ledger.charge(address, rate, now: at(100)) }
    #expect(!ledger.isWithin(address, rate, now: at(139)))
    #expect(ledger.isWithin(address, rate, now: at(140)))
  }

  @Test("Other addresses have bounds of their own; a network of IPv6 has one for all of its addresses")
  func addresses() {
    let (one, two) = (IPAddress(high: 0x2001_0db8_0000_0001, low: 1), IPAddress(high: 0x2001_0db8_0000_0001, low: 2))
    for _ in 0..<3 { ledger.charge(one, rate, now: at(100)) }
    #expect(!ledger.isWithin(two, rate, now: at(100)) && ledger.isWithin(address, rate, now: at(100)))
    #expect(ledger.isWithin(IPAddress(high: 0x2001_0db8_0000_0002, low: 1), rate, now: at(100)))
  }
}
