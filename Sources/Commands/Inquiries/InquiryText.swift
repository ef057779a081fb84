import Core

/// What a node says of limits, for people.
enum InquiryText {
  /// How all limits of a consumer stand.
  static func usage(_ root: JSONValue) -> String {
    var table = TextTable(["LIMIT", "POLICY", "PER", "KIND", ">USED", ">LIMIT", ">LEFT", "RESET", "USED UP", "ROUTES"])
    for limit in root["limits"]?.elements ?? [] {
      let routes = (limit["routes"]?.elements ?? []).compactMap(\.string)
      table.add(
        [name(limit), limit["policy"]?.string ?? "", limit["per"]?.string ?? "", kind(limit)] + numbers(limit)
          + [moment(limit["reset"]), forecast(limit), list(routes)])
    }
    var text = heading(root) + "\n"
    text += root["limits"]?.count == 0 ? "no limit applies\n" : table.text
    for plan in root["plans"]?.elements ?? [] { text += self.plan(plan) }
    if root["complete"]?.bool == false { text += "there are more limits than one answer holds\n" }
    return text
  }

  /// `plan gold of plans: 12.50 EUR since …, for 1500 requests (…)`.
  private static func plan(_ plan: JSONValue) -> String {
    var text = "plan \(plan["name"]?.string ?? "") of \(plan["policy"]?.string ?? "")"
    let charge = plan["charge"]
    if let amount = charge?["amount"]?.string {
      text += ": \(amount) \(charge?["currency"]?.string ?? "") since \(charge?["since"]?.string ?? "")"
      text += charge?["requests"]?.integer.map { ", for \($0) requests" } ?? ""
    }
    guard let price = plan["price"], let base = price["base"]?.string else { return text + "\n" }
    text += " (\(base) \(price["currency"]?.string ?? "") a month"
    if let request = price["request"]?.string {
      text += ", \(price["included"]?.integer ?? 0) requests included, \(request) for each beyond"
    }
    return text + ")\n"
  }

  /// How a request was decided, or would be.
  static func explanation(_ root: JSONValue) -> String {
    var text = heading(root) + "\n"
    text += "\(root["outcome"]?.string ?? "unknown")\(root["code"]?.string.map { " (\($0))" } ?? ""): "
    text += (root["explanation"]?.string ?? "") + "\n"
    text += rules(root["rules"]?.elements ?? [])
    let levels = root["levels"]?.elements ?? []
    guard !levels.isEmpty else { return text }
    var table = TextTable([
      "", "LIMIT", "POLICY", "PER", "KIND", ">USED", ">LIMIT", ">LEFT", "RESET", "MODE", "DECIDED BY",
    ])
    for level in levels {
      table.add(
        [
          level["binding"]?.bool == true ? "*" : "", name(level), level["policy"]?.string ?? "",
          level["per"]?.string ?? "", kind(level),
        ] + numbers(level)
          + [moment(level["reset"]), level["mode"]?.string ?? "", level["source"]?.string ?? "nobody"])
    }
    text += "\n" + table.text
    if levels.contains(where: { $0["binding"]?.bool == true }) { text += "* the limit that binds\n" }
    for level in root["unknown"]?.elements ?? [] {
      text += "not looked up, since it counts by \(level["per"]?.string ?? ""): \(name(level))\n"
    }
    return text
  }

  /// Every term of every rule.
  private static func rules(_ rules: [JSONValue]) -> String {
    if rules.isEmpty { return "" }
    var table = TextTable(["", "RULE", "TERM", "FOUND", "HOLDS"])
    for rule in rules {
      let name = "\(rule["name"]?.string ?? "") (\(rule["allows"]?.bool == true ? "allow" : "deny"))"
      for term in rule["terms"]?.elements ?? [] {
        table.add([
          term["decisive"]?.bool == true ? "*" : "", name, term["text"]?.string ?? "", term["found"]?.string ?? "-",
          term["holds"]?.bool == true ? "yes" : "no",
        ])
      }
    }
    return "\n" + table.text + "* what decides about its rule\n"
  }

  private static func heading(_ root: JSONValue) -> String {
    var words: [String] = []
    if let decision = root["decision"]?.string { words.append("decision \(decision)") }
    if let consumer = root["consumer"]?.string {
      let tenant = root["tenant"]?.string.map { " of \($0)" } ?? ""
      let key = root["key"]?.string.map { " with key \($0)" } ?? ""
      words.append("consumer \(consumer)\(tenant)\(key)")
    }
    if let plan = root["plan"]?.string { words.append("plan \(plan)") }
    if let route = root["route"]?.string { words.append("route \(route)") }
    if let client = root["client"]?.string { words.append("from \(client)") }
    words.append("node \(root["node"]?.string ?? "")")
    words.append(root["time"]?.string ?? "")
    return words.joined(separator: ", ") + "\n"
  }

  private static func name(_ limit: JSONValue) -> String {
    (limit["name"]?.string ?? "") + (limit["key"]?.string.map { " [\($0)]" } ?? "")
  }

  private static func kind(_ limit: JSONValue) -> String {
    guard let kind = limit["kind"]?.string else { return "" }
    return limit["seconds"]?.integer.map { "\(kind) \(span($0))" } ?? kind
  }

  private static func numbers(_ limit: JSONValue) -> [String] {
    [limit["used"], limit["limit"], limit["remaining"]].map { $0?.integer.map { String($0) } ?? "?" }
  }

  private static func moment(_ value: JSONValue?) -> String {
    value?["seconds"]?.integer.map { $0 == 0 ? "-" : "in \(span($0))" } ?? "-"
  }

  private static func forecast(_ limit: JSONValue) -> String {
    limit["exhausted"]?.bool == true ? "now" : moment(limit["forecast"])
  }

  private static func list(_ names: [String]) -> String {
    names.count <= 3 ? names.joined(separator: ",") : names.prefix(3).joined(separator: ",") + ",+\(names.count - 3)"
  }

  /// `45s`, `12m30s`, `3h5m`, `12d4h`: the two largest units.
  static func span(_ seconds: Int64) -> String {
    let units: [(name: String, seconds: Int64)] = [("d", 86_400), ("h", 3600), ("m", 60), ("s", 1)]
    guard let first = units.firstIndex(where: { seconds >= $0.seconds }) else { return "0s" }
    let rest = seconds % units[first].seconds
    var text = "\(seconds / units[first].seconds)\(units[first].name)"
    if first + 1 < units.count, rest / units[first + 1].seconds > 0 {
      text += "\(rest / units[first + 1].seconds)\(units[first + 1].name)"
    }
    return text
  }
}
