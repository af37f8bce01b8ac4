-- The plain definition of pareto.on_frontier, all pairs, which the view is compared with.
select
    p.* exclude (on_frontier),
    not exists (
        select 1
        from pareto o
        where o.origin = p.origin
            and o.dataset_id is not distinct from p.dataset_id
            and o.protocol_id is not distinct from p.protocol_id
            and o.speed_protocol_id is not distinct from p.speed_protocol_id
            and o.speed_backend is not distinct from p.speed_backend
            and o.quality_metric = p.quality_metric
            and o.quality_backend is not distinct from p.quality_backend
            and o.fps >= p.fps
            and (case when p.higher_is_better then o.quality >= p.quality else o.quality <= p.quality end)
            and (o.fps > p.fps or o.quality <> p.quality)
    ) as on_frontier
from pareto p
order by all
