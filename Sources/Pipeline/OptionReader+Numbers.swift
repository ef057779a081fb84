import Core

extension OptionReader {
  /// `true` or `false`, with a default.
  public mutating func bool(_ key: String, default standard: Bool, _ help: String) -> Bool {
    if isDescribing {
      describe(key, .bool, isRequired: false, default: "\(standard)", help)
      return standard
    }
    guard let value = take(key, isRequired: false) else { return standard }
    if let bool = value.bool { return bool }
    failKind(key, value, expected: "true or false", fix: "write it without quotes")
    return standard
  }

  /// A whole number with a default.
  public mutating func integer(_ key: String, in range: ClosedRange<Int64>, default standard: Int64, _ help: String)
    -> Int64
  {
    integerOrNil(key, isRequired: false, range, default: standard, help) ?? standard
  }

  /// A required whole number; the lower bound of `range` after an error.
  public mutating func integer(_ key: String, in range: ClosedRange<Int64>, _ help: String) -> Int64 {
    integerOrNil(key, isRequired: true, range, default: nil, help) ?? range.lowerBound
  }

  /// A whole number, or nil where it is left out.
  public mutating func optionalInteger(_ key: String, in range: ClosedRange<Int64>, _ help: String) -> Int64? {
    integerOrNil(key, isRequired: false, range, default: nil, help)
  }

  /// A number with a default.
  public mutating func number(
    _ key: String, in range: ClosedRange<Double>, default standard: Double, _ help: String
  ) -> Double {
    if isDescribing {
      describe(key, .number(range), isRequired: false, default: Self.text(standard), help)
      return standard
    }
    guard let value = take(key, isRequired: false) else { return standard }
    guard let number = value.number else {
      failKind(key, value, expected: "a number", fix: "write it without quotes")
      return standard
    }
    if range.contains(number) { return number }
    fail(
      "\(value.sourceText) is out of range", at: key,
      fix: "write a number from \(Self.text(range.lowerBound)) to \(Self.text(range.upperBound))")
    return standard
  }

  /// `5` for 5.0, as people write it.
  static func text(_ number: Double) -> String {
    Int64(exactly: number).map { "\($0)" } ?? "\(number)"
  }

  private mutating func integerOrNil(
    _ key: String, isRequired: Bool, _ range: ClosedRange<Int64>, default standard: Int64?, _ help: String
  ) -> Int64? {
    if isDescribing {
      describe(key, .integer(range), isRequired: isRequired, default: standard.map { "\($0)" }, help)
      return standard
    }
    guard let value = take(key, isRequired: isRequired) else { return nil }
    return integer(of: value, key, element: nil, range)
  }

  mutating func integer(of value: JSONValue, _ key: String, element: Int?, _ range: ClosedRange<Int64>) -> Int64? {
    guard value.kind == .number else {
      failKind(key, value, element: element, expected: "a whole number", fix: "write digits without quotes")
      return nil
    }
    if let integer = value.integer, range.contains(integer) { return integer }
    let upper = range.upperBound == .max ? " on" : " to \(range.upperBound)"
    fail(
      "\(value.sourceText) is out of range", at: key, element: element,
      fix: "write a whole number from \(range.lowerBound)\(upper)")
    return nil
  }

}
