create view mos as
with counted as (
    select * from ratings where not coalesce(is_check, false) and coalesce(passed_checks, true)
),
-- Answers of one person are alike, so a person counts once: the interval is over people, not over answers.
by_rater as (
    select
        study_id,
        dataset_id,
        system,
        question,
        scale_min,
        scale_max,
        rater_id,
        avg(score) as mean_score,
        count(*) as num_ratings
    from counted
    group by study_id, dataset_id, system, question, scale_min, scale_max, rater_id
),
num_clips as (
    select
        study_id, dataset_id, system, question, scale_min, scale_max, count(distinct clip_id) as num_clips
    from counted
    group by study_id, dataset_id, system, question, scale_min, scale_max
),
over_raters as (
    select
        study_id,
        dataset_id,
        system,
        question,
        scale_min,
        scale_max,
        avg(mean_score) as mean_score,
        stddev_samp(mean_score) as sd_between_raters,
        count(*) as num_raters,
        sum(num_ratings)::bigint as num_ratings
    from by_rater
    group by study_id, dataset_id, system, question, scale_min, scale_max
)
select
    q.study_id,
    q.dataset_id,
    q.system,
    q.question,
    q.mean_score as mos,
    q.mean_score - t.quantile * q.sd_between_raters / sqrt(q.num_raters) as ci_low,
    q.mean_score + t.quantile * q.sd_between_raters / sqrt(q.num_raters) as ci_high,
    q.num_raters,
    c.num_clips,
    q.num_ratings,
    q.sd_between_raters,
    q.scale_min,
    q.scale_max
from over_raters q
left join student_t t on t.num_samples = q.num_raters
join num_clips c
    on c.study_id = q.study_id
    and c.dataset_id is not distinct from q.dataset_id
    and c.system = q.system
    and c.question = q.question
    and c.scale_min is not distinct from q.scale_min
    and c.scale_max is not distinct from q.scale_max
order by q.study_id, q.dataset_id, q.question, mos desc, q.system;

comment on view mos is
    'Mean opinion scores with 95 % intervals over raters. Grain: study, data set, system, question, scale. Left out are attention checks and people who failed them.';
comment on column mos.study_id is 'The study.';
comment on column mos.dataset_id is 'Data set and version of the clips; joins datasets. Null where not given.';
comment on column mos.system is 'System whose output was shown; joins systems.';
comment on column mos.question is 'What was asked: sync, quality, identity, naturalness, ...';
comment on column mos.mos is 'Mean over raters of each rater''s mean score; higher is better.';
comment on column mos.ci_low is 'Lower end of the 95 % interval of Student''s t over raters; null for a single rater.';
comment on column mos.ci_high is 'Upper end of the 95 % interval of Student''s t over raters; null for a single rater.';
comment on column mos.num_raters is 'People whose answers count.';
comment on column mos.num_clips is 'Different clips that were rated.';
comment on column mos.num_ratings is 'Answers that count.';
comment on column mos.sd_between_raters is 'Standard deviation of the raters'' means; null for a single rater.';
comment on column mos.scale_min is 'Lowest answer that was offered; means on different scales are different rows.';
comment on column mos.scale_max is 'Highest answer that was offered.';
