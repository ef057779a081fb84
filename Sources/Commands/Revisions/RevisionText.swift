import Core

/// Plans and revisions, for people.
enum RevisionText {
  /// What would change, and what that does; `json` has the members of a plan.
  static func plan(_ json: JSONValue) -> String {
    let changes = json["changes"]?.elements ?? []
    guard !changes.isEmpty else { return "nothing changes\n" }
    var text = ""
    for change in changes {
      let kind = change["change"]?.string ?? ""
      let sign = kind == "added" ? "+" : kind == "removed" ? "-" : "~"
      text += "\(sign) \(change["object"]?.string ?? "") \"\(change["name"]?.string ?? "")\"\n"
      guard kind != "removed" else { continue }
      for option in change["options"]?.elements ?? [] { text += "    \(line(option))\n" }
    }
    let consequences = json["consequences"]?.elements ?? []
    guard !consequences.isEmpty else { return text }
    text += "\nwhat that does:\n"
    let serious = consequences.filter { $0["serious"]?.bool == true }
    for consequence in serious + consequences.filter({ $0["serious"]?.bool != true }) {
      let mark = consequence["serious"]?.bool == true ? "!" : " "
      let subject = consequence["subject"]?.string ?? ""
      text += "\(mark) \(subject.isEmpty ? "" : "\(subject): ")\(consequence["message"]?.string ?? "")\n"
    }
    return text + survey(json["survey"])
  }

  /// How many consumers were looked at.
  private static func survey(_ json: JSONValue?) -> String {
    guard let json, let looked = json["consumers"]?.integer, let all = json["of"]?.integer else { return "" }
    let over = json["over"]?.integer ?? 0
    let extent = looked < all ? "\(looked) of \(all) consumers in 2 s" : "all \(all) consumers"
    return "looked at \(extent): \(over) of them are over a new limit now\n"
  }

  private static func line(_ option: JSONValue) -> String {
    let path = option["path"]?.string ?? ""
    if option["secret"]?.bool == true { return "\(path): \(option["new"]?.string ?? "") stands for another value" }
    switch (option["old"]?.string, option["new"]?.string) {
    case (nil, let new?): return "\(path): \(new)"
    case (let old?, nil): return "\(path): \(old) is gone"
    case (let old?, let new?): return "\(path): \(old) -> \(new)"
    case (nil, nil): return path
    }
  }

  /// A table of revisions.
  static func history(_ json: JSONValue) -> String {
    var table = TextTable([">REVISION", "TIME", "BY", "WHAT", "WHY"])
    for entry in json["revisions"]?.elements ?? [] {
      table.add([
        entry["revision"]?.integer.map { "\($0)" } ?? "", entry["time"]?.string ?? "", entry["author"]?.string ?? "",
        what(entry), entry["message"]?.string ?? "",
      ])
    }
    return table.text
  }

  private static func what(_ entry: JSONValue) -> String {
    let cause = entry["cause"]?.string ?? ""
    let origin = entry["origin"]?.integer ?? 0
    let stage = (entry["stage"]?.elements ?? []).compactMap(\.string)
    if !stage.isEmpty { return "\(cause), staged on \(stage.joined(separator: ", "))" }
    switch cause {
    case "rolled back", "reverted": return "\(cause) to \(origin)"
    case "promoted": return "\(cause) from \(origin)"
    default: return cause
    }
  }

  /// What a node does with a revision, in one line.
  static func node(_ node: JSONValue) -> String {
    let name = node["node"]?.string ?? ""
    let milliseconds = node["milliseconds"]?.integer ?? 0
    switch node["state"]?.string {
    case "active":
      let remark = node["reason"]?.string ?? ""
      return "\(name): in force after \(milliseconds) ms\(remark.isEmpty ? "" : "; \(remark)")\n"
    case "staged": return "\(name): waits, others have it first\n"
    case "refused": return "\(name): refused after \(milliseconds) ms: \(node["reason"]?.string ?? "")\n"
    default: return "\(name): has not answered\n"
    }
  }
}
