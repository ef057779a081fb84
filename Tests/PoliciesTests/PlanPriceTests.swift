import Pipeline
import Testing

@testable import Policies

@Suite("PlanPrice")
struct PlanPriceTests {
  @Test(
    "What is no amount is refused",
    arguments: [
      "", ".", "1.", ".5", "-1", "+1", "1e3", " 1", "1 ", "01", "00", "1,5", "1.5.5", "0x1", "1234567890",
      "0.1234567890",
      "１", "1.٢", "NaN",
    ])
  func refusals(text: String) {
    #expect(PriceNumber(text) == nil)
  }

  @Test(
    "Amounts are kept as they are written",
    arguments: [
      ("0", 0), ("0.00", 0), ("12", 12_000_000_000), ("12.50", 12_500_000_000), ("0.000000001", 1),
      ("999999999.999999999", 999_999_999_999_999_999),
    ] as [(String, Int64)])
  func amounts(text: String, billionths: Int64) throws {
    let number = try #require(PriceNumber(text))
    #expect(number.billionths == billionths && number.text == text)
  }

  private func charge(_ base: String, _ included: Int64, _ request: String?, _ requests: Int64) throws -> String {
    let price = PlanPrice(
      currency: "EUR", base: try #require(PriceNumber(base)), included: included,
      request: try request.map { try #require(PriceNumber($0)) })
    return price.charge(for: requests)
  }

  @Test("What is included costs nothing, and each request beyond its price, exactly")
  func charges() throws {
    #expect(try charge("0.00", 1000, "0.002", 0) == "0.000")
    #expect(try charge("0.00", 1000, "0.002", 1000) == "0.000")
    #expect(try charge("0.00", 1000, "0.002", 1001) == "0.002")
    #expect(try charge("49.90", 1000, "0.002", 2500) == "52.900")
    #expect(try charge("49.90", 0, nil, 2500) == "49.90")
    #expect(try charge("5", 0, "2", 3) == "11")
    // A tenth is no binary fraction: three of them are exactly 0.3.
    #expect(try charge("0", 0, "0.1", 3) == "0.3")
  }

  @Test("The largest price of the most requests is exact")
  func largest() throws {
    let most = "999999999.999999999"
    #expect(try charge(most, 0, most, 1 << 53) == "9007199254740992990992800.745259007")
  }
}
