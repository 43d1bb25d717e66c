-- Entries and seals as XRANGE gives them: {id, {field, value, …}}.
local function field_of(row, name)
  for n = 1, #row[2], 2 do
    if row[2][n] == name then return row[2][n + 1] end
  end
end

local function ms_of(id) return tonumber(string.match(id, '^%d+')) end
local function number_of(seal) return ms_of(seal[1]) end
