"""What Redis does at once for one request, in Lua; the arithmetic is that of `counters` and `window`.

Keys: the ticket, then three for each bound: requests, tokens, held; those of money are named in the call. All lie in
one hash slot. Times are those of the Redis server, so that machines need not agree. What a worker holds counts for as
long as its key of life has not expired.
"""

_SHARED = """
local ask = cjson.decode(ARGV[1])
local time = redis.call('TIME')
local now = tonumber(time[1]) + tonumber(time[2]) / 1000000
local slot = math.floor(now / 5)

local function whole(number) return string.format('%.0f', number) end

local function count(key, at, by)
  redis.call('HINCRBY', key, whole(at), whole(by))
  redis.call('EXPIRE', key, 75)
end

local function keep(budget)
  if budget.ends > 0 then redis.call('EXPIREAT', budget.key, whole(budget.ends + 86400)) end
end
"""

TAKE = (
    _SHARED
    + """
if redis.call('EXISTS', ask.lives .. ask.worker) == 0 then return 'dead' end

local function window(key)
  local flat, total, counts = redis.call('HGETALL', key), 0, {}
  for i = 1, #flat, 2 do
    local at = tonumber(flat[i])
    if at <= slot - 13 then
      redis.call('HDEL', key, flat[i])
    else
      counts[at] = tonumber(flat[i + 1])
      total = total + counts[at]
    end
  end
  return total, counts
end

local reset = 0
local function resets(counts)
  for at, amount in pairs(counts) do
    if amount > 0 then reset = math.max(reset, (at + 13) * 5 - now) end
  end
end

local function free_in(total, counts, room, limit)
  for at = slot - 12, slot do
    total = total - (counts[at] or 0)
    if total + room <= limit then return (at + 13) * 5 - now end
  end
  return (slot + 13) * 5 - now
end

local function held(key, kind)
  local flat, total = redis.call('HGETALL', key), 0
  for i = 1, #flat, 2 do
    if redis.call('EXISTS', ask.lives .. string.sub(flat[i], 3)) == 0 then
      redis.call('HDEL', key, flat[i])
    elseif string.sub(flat[i], 1, 1) == kind then
      total = total + tonumber(flat[i + 1])
    end
  end
  return total
end

local against, over = {}, {}
local r_limit, r_left, t_limit, t_left = 0, 0, 0, 0

for i, bound in ipairs(ask.bounds) do
  local key = 3 * i - 1
  if bound.requests > 0 then
    local total, counts = window(KEYS[key])
    resets(counts)
    local left = bound.requests - total
    if r_limit == 0 or left < r_left then r_limit, r_left = bound.requests, left end
    if left < 1 then table.insert(against, {i, 'requests', 0, free_in(total, counts, 1, bound.requests)}) end
  end
  if bound.tokens > 0 then
    local total, counts = window(KEYS[key + 1])
    resets(counts)
    local left = bound.tokens - total
    if t_limit == 0 or left < t_left then t_limit, t_left = bound.tokens, left end
    if left < math.max(ask.tokens, 1) and left < bound.tokens then
      local room = math.min(ask.tokens, bound.tokens)
      table.insert(against, {i, 'tokens', 0, free_in(total, counts, room, bound.tokens)})
    end
  end
  if bound.streams > 0 and ask.stream and held(KEYS[key + 2], 's') >= bound.streams then
    table.insert(against, {i, 'streams', 0, 1})
  end
  if #bound.budgets > 0 then
    local needed = held(KEYS[key + 2], 'n') + math.max(ask.nano, 1)
    for k, budget in ipairs(bound.budgets) do
      local spent = tonumber(redis.call('GET', budget.key) or 0)
      if spent < budget.known then
        spent = budget.known
        redis.call('SET', budget.key, whole(spent))
        keep(budget)
      end
      if spent + needed > budget.nano then
        table.insert(budget.hard and against or over, {i, 'budget', k, 0})
      end
    end
  end
end

if #against == 0 then
  redis.call('SET', KEYS[1], '1', 'EX', 86400)
  for i, bound in ipairs(ask.bounds) do
    local key = 3 * i - 1
    if bound.requests > 0 then count(KEYS[key], slot, 1) end
    if bound.tokens > 0 then count(KEYS[key + 1], slot, ask.tokens) end
    if bound.streams > 0 and ask.stream then redis.call('HINCRBY', KEYS[key + 2], 's:' .. ask.worker, 1) end
    if #bound.budgets > 0 then redis.call('HINCRBY', KEYS[key + 2], 'n:' .. ask.worker, whole(ask.nano)) end
  end
  r_left, t_left, reset = r_left - 1, t_left - ask.tokens, (slot + 13) * 5 - now
end
return cjson.encode({
  against = #against > 0 and against or nil, over = #over > 0 and over or nil, slot = slot,
  standing = {r_limit, r_left, t_limit, t_left, reset}
})
"""
)

SETTLE = (
    _SHARED
    + """
if redis.call('DEL', KEYS[1]) == 0 then return 0 end

local function let_go(key, kind, by)
  local field = kind .. ':' .. ask.worker
  if redis.call('HEXISTS', key, field) == 1 and redis.call('HINCRBY', key, field, whole(-by)) <= 0 then
    redis.call('HDEL', key, field)
  end
end

for i, bound in ipairs(ask.bounds) do
  local key = 3 * i - 1
  if bound.tokens > 0 then
    if ask.by > 0 then
      count(KEYS[key + 1], slot, ask.by)
    elseif ask.by < 0 and slot - ask.at < 13 and redis.call('HEXISTS', KEYS[key + 1], whole(ask.at)) == 1 then
      count(KEYS[key + 1], ask.at, ask.by)
    end
  end
  if ask.cost > 0 then
    local booked = {}
    for _, budget in ipairs(bound.budgets) do
      if not booked[budget.key] then
        booked[budget.key] = true
        redis.call('INCRBY', budget.key, whole(ask.cost))
        keep(budget)
      end
    end
  end
  if bound.streams > 0 and ask.stream then let_go(KEYS[key + 2], 's', 1) end
  if #bound.budgets > 0 then let_go(KEYS[key + 2], 'n', ask.nano) end
end
return 1
"""
)
