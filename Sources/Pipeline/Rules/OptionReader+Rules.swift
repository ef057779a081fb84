extension OptionReader {
  /// An access rule; nil where there is none, or it is wrong. `zone` is that of its times.
  public mutating func rule(_ key: String, _ help: String, zone: TimeZoneTable = .utc) -> AccessRule? {
    guard let text = optionalText(key, help), !isDescribing else { return nil }
    do throws(RuleFault) {
      return try AccessRule(text, zone: zone)
    } catch {
      fail("character \(error.column): \(error.message)", at: key, fix: error.fix)
      return nil
    }
  }
}
