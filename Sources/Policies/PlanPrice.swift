import Core
import Pipeline

/// What a usage plan costs: so much a month, and so much for each request beyond those that are included.
///
/// Amounts are exact: whole numbers of billionths, never binary fractions. It is told to whoever asks how limits stand, and
/// charges nobody.
public struct PlanPrice: Equatable, Sendable {
  /// The most requests that can be included: as many as a limit may have units.
  static let mostIncluded = LimitText.maximumUnits

  /// The currency, three capitals (ISO 4217).
  public let currency: String
  /// What a month costs.
  public let base: PriceNumber
  /// How many requests of a month cost nothing more.
  public let included: Int64
  /// What each request beyond costs; nil for nothing.
  public let request: PriceNumber?

  /// A price of these parts.
  init(currency: String, base: PriceNumber, included: Int64, request: PriceNumber?) {
    (self.currency, self.base, self.included, self.request) = (currency, base, included, request)
  }

  /// Reads the options; nil after an error.
  init?(_ options: inout OptionReader) {
    let currencyFormat = OptionFormat(
      "a currency as ISO 4217 calls it", example: "EUR", pattern: "^[A-Z]{3}$")
    let currency = options.value("currency", currencyFormat, placeholder: "", "The currency, three capitals.") { text in
      text.utf8.count == 3 && text.utf8.allSatisfy { (65...90).contains($0) } ? text : nil
    }
    let base = options.value(
      "base", PriceNumber.format, default: "0", placeholder: PriceNumber.zero, "What a calendar month costs."
    ) { PriceNumber($0) }
    let included = options.integer(
      "included", in: 0...Self.mostIncluded, default: 0, "Requests of a month that cost nothing beyond that.")
    let request = options.optionalValue(
      "request", PriceNumber.format,
      "What each request beyond those costs. It needs a limit of the plan that counts them: per consumer, with a quota a "
        + "month."
    ) { PriceNumber($0) }
    if options.has("included"), !options.has("request") {
      options.fail(
        "what is included means nothing where further requests cost nothing", at: "included",
        fix: "add request, or remove it")
    }
    self.init(currency: currency, base: base, included: included, request: request)
    if currency.isEmpty { return nil }
  }

  /// What `requests` of a month cost, 0 or more, with as many decimals as the price has.
  public func charge(for requests: Int64) -> String {
    let beyond = Int128(max(0, requests - included))
    // Below 2⁵³ × 10¹⁸ + 10¹⁸, which is less than 2¹¹⁴.
    let amount = Int128(base.billionths) + beyond * Int128(request?.billionths ?? 0)
    return PriceNumber.text(billionths: amount, decimals: max(base.decimals, request?.decimals ?? 0))
  }
}

/// A decimal number without a sign, exactly as it is written: at most nine digits before the point and nine behind it.
public struct PriceNumber: Equatable, Sendable, BitwiseCopyable {
  /// The most digits on either side of the point.
  static let mostDigits = 9

  /// Nothing, without decimals.
  static let zero = PriceNumber(billionths: 0, decimals: 0)

  static let format = OptionFormat(
    "an amount", example: "0.002", pattern: "^(0|[1-9][0-9]{0,8})(\\.[0-9]{1,9})?$")

  /// The number times 10⁹.
  public let billionths: Int64
  /// How many digits stand behind the point.
  public let decimals: Int

  private init(billionths: Int64, decimals: Int) { (self.billionths, self.decimals) = (billionths, decimals) }

  /// Reads `12`, `0.5` or `12.50`; nil for anything else.
  public init?(_ text: String) {
    let parts = text.utf8.split(separator: UInt8(ascii: "."), maxSplits: 1, omittingEmptySubsequences: false)
    guard let whole = parts.first, (1...Self.mostDigits).contains(whole.count) else { return nil }
    guard whole.count == 1 || whole.first != UInt8(ascii: "0") else { return nil }
    let fraction = parts.count == 2 ? Array(parts[1]) : []
    guard parts.count == 1 || (1...Self.mostDigits).contains(fraction.count) else { return nil }
    var value: Int64 = 0
    // Eighteen digits stay below 2⁶³.
    for digit in whole + fraction + [UInt8](repeating: 48, count: Self.mostDigits - fraction.count) {
      guard (48...57).contains(digit) else { return nil }
      value = value * 10 + Int64(digit - 48)
    }
    self.init(billionths: value, decimals: fraction.count)
  }

  /// The number as it was written.
  public var text: String { Self.text(billionths: Int128(billionths), decimals: decimals) }

  /// A number, 0 or more, with so many of its nine decimals; the others are nought.
  static func text(billionths: Int128, decimals: Int) -> String {
    let (whole, rest) = billionths.quotientAndRemainder(dividingBy: 1_000_000_000)
    guard decimals > 0 else { return "\(whole)" }
    let digits = "\(rest)"
    return "\(whole)." + (String(repeating: "0", count: mostDigits - digits.count) + digits).prefix(decimals)
  }
}
